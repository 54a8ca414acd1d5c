//! The kept corpus, and what is near to it, through the same doors as by libFuzzer. `QA_FUZZ_SECONDS` says for how long
//! each target is tried beyond the corpus; another seed every time, which a failure names with the file that it wrote.

use qa_fuzz::mutate::Mutator;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest that one input may take: a hang, or what grows with the square of an input.
const LONGEST: Duration = Duration::from_secs(20);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file of the corpus").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a file of the corpus"))).collect()
}

/// The whole corpus of a target, then what is near to it.
fn tried(name: &str) {
    let (_, target) = qa_fuzz::TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    let files = corpus(name);
    assert!(files.len() >= 10, "{} files are no corpus", files.len());
    let holds = |input: &[u8]| {
        let begun = Instant::now();
        catch_unwind(|| target(input)).is_ok() && begun.elapsed() < LONGEST
    };
    for (path, input) in &files {
        assert!(holds(input), "{} breaks it", path.display());
    }
    let seconds = std::env::var("QA_FUZZ_SECONDS").map_or(1.0, |s| s.parse().expect("QA_FUZZ_SECONDS is a number"));
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let inputs: Vec<Vec<u8>> = files.into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator::new(&inputs, seed);
    let (begun, mut count) = (Instant::now(), 0_u64);
    while begun.elapsed().as_secs_f64() < seconds {
        let input = mutator.next_input();
        if !holds(&input) {
            let kept = std::env::temp_dir().join(format!("qa-fuzz-{name}-{seed}"));
            std::fs::write(&kept, &input).expect("the folder of temporary files can be written");
            panic!("input {count} of seed {seed} breaks it; it is in {}", kept.display());
        }
        count += 1;
    }
    println!("{name}: {} of the corpus and {count} near to it", inputs.len());
    assert!(count > 0, "nothing was tried beyond the corpus");
}

// All at once, so that each has its seconds whatever the number of processors.
#[test]
fn every_target_bears_its_corpus_and_what_is_near_to_it() {
    std::thread::scope(|scope| {
        let tries = qa_fuzz::TARGETS.map(|(name, _)| (name, scope.spawn(move || tried(name))));
        let broken: Vec<&str> =
            tries.into_iter().filter_map(|(name, tried)| tried.join().is_err().then_some(name)).collect();
        assert!(broken.is_empty(), "what broke them is above: {broken:?}");
    });
}
