//! What goes wrong comes as an error of its kind, which says what it was about, and leaves everything as it was.

use std::path::{Path, PathBuf};

use edgeadapt::{Bundle, Error, Input, Kind, Options, Tokenizer};

const X: [f32; 40] = [0.25; 40];

/// A bundle of embed/c/test/write_bundles.py, or something in it.
fn at(name: &str) -> PathBuf {
    Path::new(&std::env::var("EDGEADAPT_BUNDLES").expect("EDGEADAPT_BUNDLES, as the Makefile sets it")).join(name)
}

fn expect<T>(done: Result<T, Error>, kind: Kind, text: &str) {
    match done {
        Ok(_) => panic!("no error where one about {} was expected", text),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{}", error);
            assert!(error.to_string().contains(text), "{}", error);
        }
    }
}

#[test]
fn what_cannot_be_opened() {
    expect(Bundle::open(at("nowhere")), Kind::Bundle, "edgeadapt.json");
    expect(Bundle::open(at("encoder")), Kind::Unsupported, "encoder");
    expect(Bundle::open("a\0b"), Kind::Config, "NUL");
    expect(
        Bundle::open_with(at("open"), &Options { threads: -1, ..Options::default() }),
        Kind::Config,
        "threads: got -1",
    );
    let onnxruntime = Some(PathBuf::from("/no/library.so"));
    let options = Options { onnxruntime, ..Options::default() };
    expect(Bundle::open_with(at("open"), &options), Kind::Provider, "/no/library.so");
    expect(Tokenizer::open(at("open/edgeadapt.json")), Kind::Unsupported, "format");
}

#[test]
fn what_cannot_be_run() {
    let bundle = Bundle::open(at("stored")).unwrap();
    let x = || Input::new("x", &X, &[2, 5, 4]);
    expect(bundle.run(&[], None), Kind::Input, "x: missing");
    expect(bundle.run(&[Input::new("x", &X, &[1, 5, 4])], None), Kind::Input, "160 bytes");
    expect(bundle.run(&[Input::new("x", &[1i64; 40], &[2, 5, 4])], None), Kind::Input, "int64");
    expect(bundle.run(&[Input::new("x\0", &X, &[2, 5, 4])], None), Kind::Config, "NUL");
    expect(bundle.run(&[x()], Some("nobody")), Kind::Adapter, "nobody");
    expect(bundle.run(&[x()], Some("spam\0")), Kind::Config, "NUL");
    expect(bundle.run_rows(&[x()], &[Some("spam")]), Kind::Input, "batch of 2");
    let outputs = bundle.run(&[x()], Some("spam")).unwrap();
    drop(bundle);
    let logits = outputs.get("logits").expect("an output that outlives its bundle");
    assert_eq!(logits.shape()[0], 2);
    assert_eq!(logits.dtype(), "float32");
    assert_eq!(logits.values::<f32>().unwrap().len() * 4, logits.bytes().len());
    assert!(logits.values::<i64>().is_none() && outputs.get("nothing").is_none());
}

#[test]
fn what_cannot_be_added() {
    let bundle = Bundle::open(at("open")).unwrap();
    let before = bundle.adapters().unwrap();
    expect(bundle.add(at("broken/spam"), Some("ham")), Kind::Bundle, "sha256");
    expect(bundle.add(at("open/adapters/spam"), None), Kind::Adapter, "already");
    expect(bundle.add(at("open/adapters/spam"), Some("a/b")), Kind::Adapter, "a/b");
    expect(bundle.remove("none"), Kind::Adapter, "base");
    expect(bundle.labels(Some("nobody")), Kind::Adapter, "nobody");
    assert_eq!(bundle.adapters().unwrap(), before);
    assert!(!before.is_empty());
}

#[test]
fn rows_of_different_adapters_come_one_by_one() {
    let bundle = Bundle::open(at("open")).unwrap();
    let adapters = bundle.adapters().unwrap();
    let counts: Vec<usize> = adapters.iter().map(|name| bundle.labels(Some(name)).unwrap().len()).collect();
    let pair = (1..adapters.len()).find(|index| counts[*index] != counts[0]).expect("heads of two sizes");
    let rows = [Some(adapters[0].as_str()), Some(adapters[pair].as_str())];
    let outputs = bundle.run_rows(&[Input::new("x", &X, &[2, 5, 4])], &rows).unwrap();
    assert_eq!(outputs.arrays("logits"), 2);
    for (row, labels) in [counts[0], counts[pair]].into_iter().enumerate() {
        assert_eq!(outputs.row("logits", row).unwrap().shape(), [labels as i64]);
    }
}
