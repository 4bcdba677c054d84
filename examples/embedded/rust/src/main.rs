//! Classifies texts typed at it, with any of a bundle's adapters and no Python: `make -C examples/embedded/rust` builds it.
//!
//! ```console
//! $ classify bundle
//! adapters: intents reviews spam
//! none> :spam
//! spam> You won a free phone, call now!
//! spam 0.998000  ham 0.002000   (3.1 ms)
//! ```

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use edgeadapt::{Bundle, Input, Tokenizer};

struct Scored {
    label: String,
    score: f32,
}

/// The scores of one row of logits, as section 7 of the bundle's format has them, the highest first.
fn scores(bundle: &Bundle, adapter: Option<&str>, logits: &[f32]) -> edgeadapt::Result<Vec<Scored>> {
    let kind = bundle.problem_type(adapter)?;
    let labels = bundle.labels(adapter)?;
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    let score = |logit: f32| match kind.as_deref() {
        Some("regression") => logit,
        Some("multi_label_classification") => 1.0 / (1.0 + (-logit).exp()),
        _ if logits.len() == 1 => 1.0 / (1.0 + (-logit).exp()),
        _ => (logit - highest).exp() / sum,
    };
    let label = |index: usize| labels.get(index).cloned().unwrap_or_else(|| format!("LABEL_{}", index));
    let mut found: Vec<Scored> =
        logits.iter().enumerate().map(|(index, logit)| Scored { label: label(index), score: score(*logit) }).collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(found)
}

struct Classifier {
    bundle: Bundle,
    tokenizer: Tokenizer,
}

impl Classifier {
    fn open(folder: &str) -> Result<Classifier, Box<dyn Error>> {
        let bundle = Bundle::open(folder)?;
        if bundle.task() != "text-classification" {
            let found = bundle.task();
            return Err(format!("{} is a bundle for {}, and this program classifies texts.", folder, found).into());
        }
        let path =
            bundle.tokenizer_path().ok_or("The bundle has no tokenizer, so this program can't read texts for it.")?;
        Ok(Classifier { tokenizer: Tokenizer::open(path)?, bundle })
    }

    fn classify(&self, text: &str, adapter: Option<&str>) -> Result<Vec<Scored>, Box<dyn Error>> {
        let tokens = self.tokenizer.encode(text, None, self.bundle.max_length())?;
        let mask = vec![1i64; tokens.ids.len()];
        let shape = [1, tokens.ids.len() as i64];
        let names = self.bundle.inputs();
        let inputs: Vec<Input> = names
            .iter()
            .map(|name| match name.as_str() {
                "input_ids" => Input::new(name, &tokens.ids, &shape),
                "attention_mask" => Input::new(name, &mask, &shape),
                _ => Input::new(name, &tokens.type_ids, &shape),
            })
            .collect();
        let outputs = self.bundle.run(&inputs, adapter)?;
        let logits = outputs.get("logits").and_then(|output| output.values());
        Ok(scores(&self.bundle, adapter, logits.ok_or("The model has no logits of float32.")?)?)
    }

    fn answer(&self, text: &str, adapter: Option<&str>) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        let found = self.classify(text, adapter)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        for each in found.iter().take(3) {
            print!("{} {:.6}  ", each.label, each.score);
        }
        println!(" ({:.1} ms)", took);
        Ok(())
    }

    /// Takes a line: `:name` switches the adapter, everything else is a text.
    fn turn(&self, line: &str, adapter: &mut Option<String>) -> Result<(), Box<dyn Error>> {
        match line.strip_prefix(':') {
            Some("none") => *adapter = None,
            Some(name) => {
                self.bundle.labels(Some(name))?; // refuses one that there is not
                *adapter = Some(name.to_owned());
            }
            None => self.answer(line, adapter.as_deref())?,
        }
        Ok(())
    }
}

fn prompt(adapter: &Option<String>) -> io::Result<()> {
    print!("{}> ", adapter.as_deref().unwrap_or("none"));
    io::stdout().flush()
}

fn talk(folder: &str) -> Result<(), Box<dyn Error>> {
    let classifier = Classifier::open(folder)?;
    println!("adapters: {}", classifier.bundle.adapters()?.join(" "));
    let mut adapter = None;
    prompt(&adapter)?;
    for line in io::stdin().lock().lines() {
        if let Err(error) = classifier.turn(&line?, &mut adapter) {
            eprintln!("{}", error);
        }
        prompt(&adapter)?;
    }
    println!();
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 2 {
        eprintln!("usage: classify BUNDLE");
        std::process::exit(2);
    }
    if let Err(error) = talk(&arguments[1]) {
        eprintln!("{}", error);
        std::process::exit(1);
    }
}
