//! Threads share one bundle, run it with one adapter, another and mixed ones, and add and remove adapters meanwhile.

use std::path::{Path, PathBuf};
use std::thread;

use edgeadapt::{Bundle, Input, Kind, Options, Outputs, Tokenizer};

const THREADS: usize = 8;
const ROUNDS: usize = 1000;
const ROWS: usize = 4;
const SHAPE: [i64; 3] = [ROWS as i64, 5, 4];
const ADAPTERS: [Option<&str>; ROWS] = [Some("spam"), Some("polite"), Some("short"), None];

/// Every array of the logits, to its bits.
fn bits(outputs: &Outputs) -> Vec<Vec<u8>> {
    (0..outputs.arrays("logits")).map(|row| outputs.row("logits", row).unwrap().bytes().to_vec()).collect()
}

fn folder() -> PathBuf {
    Path::new(&std::env::var("EDGEADAPT_BUNDLES").expect("EDGEADAPT_BUNDLES, as the Makefile sets it")).join("stored")
}

/// Adds an adapter under a name that other threads add and remove, too, runs it and removes it. Another thread may be
/// first at each of these, which is an error of one kind.
fn change(bundle: &Bundle, name: &str, input: &Input, expected: &[Vec<u8>]) {
    let added = bundle.add(folder().join("adapters/spam"), Some(name));
    let ran = bundle.run(std::slice::from_ref(input), Some(name)).map(|outputs| bits(&outputs));
    let removed = bundle.remove(name);
    if let Ok(found) = &ran {
        assert_eq!(found, expected);
    }
    for error in [added.err(), ran.err(), removed.err()].into_iter().flatten() {
        assert_eq!(error.kind(), Kind::Adapter, "{}", error);
    }
}

#[test]
fn threads_get_what_each_adapter_gives_alone() {
    let x: Vec<f32> = (0..ROWS * 20).map(|index| (index % 17) as f32 / 8.0 - 1.0).collect();
    let bundle = Bundle::open_with(folder(), &Options { threads: 1, ..Options::default() }).unwrap();
    let run = |adapter| bits(&bundle.run(&[Input::new("x", &x, &SHAPE)], adapter).unwrap());
    let mixed = || bits(&bundle.run_rows(&[Input::new("x", &x, &SHAPE)], &ADAPTERS).unwrap());
    let alone: Vec<_> = ADAPTERS.iter().map(|adapter| run(*adapter)).collect();
    let expected_mixed = mixed();
    assert!((1..ROWS).all(|one| alone[one] != alone[one - 1]), "adapters that answer alike show nothing");
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (bundle, x, run, mixed, alone, expected_mixed) = (&bundle, &x, &run, &mixed, &alone, &expected_mixed);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let which = (number + round) % ROWS;
                    assert_eq!(run(ADAPTERS[which]), alone[which]);
                    if round % 2 == 1 {
                        assert_eq!(&mixed(), expected_mixed);
                    }
                    if round % 5 == 0 {
                        let name = format!("spam-{}", (number + round) % 3);
                        change(bundle, &name, &Input::new("x", x, &SHAPE), &alone[0]);
                    }
                }
            });
        }
    });
    assert_eq!(bundle.adapters().unwrap(), ["polite", "short", "spam"]);
}

#[test]
fn what_threads_may_share_they_do() {
    fn shared<T: Send + Sync>() {}
    shared::<Bundle>();
    shared::<Outputs>();
    shared::<Tokenizer>();
}
