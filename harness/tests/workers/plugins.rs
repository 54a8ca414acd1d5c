//! The example plugin, as its specification runs it.

use crate::talk::{PATIENT, launcher_in, ready, run_request};
use crate::trial;
use libtest_mimic::Trial;
use qa::run::session::Session;
use qa::samples::{Loss, LossCause, Stage};
use qa::spec::{Arm, Spec};
use qa_protocol::{FailureKind, Metric, RunRequest, Sample, Sampling, ScoreRequest};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub(crate) fn trials() -> Vec<Trial> {
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let absent = !python.is_ok_and(|status| status.success());
    let named = |name: &str| if absent { format!("{name} (needs python3)") } else { name.to_owned() };
    vec![
        trial(named("plugin::the_python_example_measures_and_is_believed"), measures).with_ignored_flag(absent),
        trial(named("plugin::the_python_example_refuses_what_it_cannot_do"), refuses).with_ignored_flag(absent),
    ]
}

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../backends/examples")
}

fn arm(name: &str) -> Arm {
    let text = std::fs::read_to_string(examples().join("toy-decoder.yaml")).expect("the example's specification");
    let spec: Spec = serde_yaml::from_str(&text).expect("a specification");
    spec.arms[name].clone()
}

fn start(arm: &Arm) -> Result<Box<dyn Session>, Loss> {
    ready(&launcher_in(&examples()), arm, &PATIENT)
}

fn measures() {
    let metrics = vec![Metric::DecodeRate, Metric::TimeToFirstToken, Metric::InterTokenLatencyP99, Metric::PrefillRate];
    let request = RunRequest { metrics, generate_tokens: 16, ..run_request() };
    let measure = |name: &str| {
        let mut session = start(&arm(name)).expect("python3 is here");
        let mut samples: Vec<Sample> = Vec::new();
        assert_eq!(session.run(&request, &mut |sample, _| samples.push(sample)), Ok(()));
        assert_eq!(session.finish(), Ok(()));
        samples
    };
    let (narrow, again, wide) = (measure("narrow"), measure("narrow"), measure("wide"));
    assert_eq!(narrow.len(), 3);
    assert_eq!(narrow[1].tokens, again[2].tokens, "the same seed, the same tokens");
    assert_ne!(narrow[1].tokens, wide[1].tokens);
    let fastest = |samples: &[Sample]| samples.iter().filter_map(|s| s.decode_ns).fold(f64::INFINITY, f64::min);
    assert!(fastest(&wide) > 1.5 * fastest(&narrow), "{} and {}", fastest(&wide), fastest(&narrow));
}

fn refuses() {
    let refusal = |loss: Loss| match loss.cause {
        LossCause::Refused(failure) => (loss.stage, failure.kind, failure.message),
        other => panic!("{other:?}: {} {:?}", loss.message, loss.stderr_tail),
    };
    for (option, value) in [("hiden", json!(8)), ("hidden", json!(0)), ("hidden", json!("wide"))] {
        let mut arm = arm("narrow");
        arm.options.insert(option.to_owned(), value);
        let Err(loss) = start(&arm) else { panic!("{option} was taken") };
        let (stage, kind, message) = refusal(loss);
        assert_eq!((stage, kind), (Stage::Prepare, FailureKind::Unsupported));
        assert!(message.contains("`hidden` (a whole number above 0)"), "{message}");
    }
    let mut session = start(&arm("narrow")).expect("python3 is here");
    let random = Sampling::Random { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 1 };
    let loss =
        session.run(&RunRequest { sampling: random, ..run_request() }, &mut |_, _| {}).expect_err("it is greedy");
    assert_eq!(refusal(loss).1, FailureKind::Unsupported);
    let mut session = start(&arm("narrow")).expect("python3 is here");
    let request = ScoreRequest { tokens: vec![1; 8], text: None, context: 8, first: 4, top: 1 };
    assert_eq!(refusal(session.score(&request, &mut |_| {}).expect_err("it cannot")).1, FailureKind::Unsupported);
}
