use super::*;
use qa_protocol::{FailureKind, Metric, PrepareRequest, Replicate, RunRequest, Sample, Sampling};

fn arm(yaml: &str) -> Arm {
    serde_yaml::from_str(yaml).expect("the test's own YAML")
}

fn samples(arm: &Arm, block: u32) -> Result<Vec<Sample>, Loss> {
    let mut session = SimulatedLauncher.launch(arm, &Deadlines::default(), None)?;
    session.hello()?;
    let replicate = Some(Replicate { arm: "a".into(), block, ..Replicate::default() });
    session.prepare(&PrepareRequest { options: arm.options.clone(), replicate, ..PrepareRequest::default() })?;
    let request = RunRequest {
        prompt: vec![1, 2],
        generate_tokens: 8,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 5,
        metrics: vec![Metric::DecodeRate],
        tokens: true,
        load: None,
    };
    let mut samples = Vec::new();
    session.run(&request, &mut |sample, _| samples.push(sample))?;
    session.finish()?;
    Ok(samples)
}

#[test]
fn a_process_is_a_function_of_its_script_and_place() {
    let arm = arm("{backend: fake, noise: {seed: 3, process_log_sd: 0.1, iteration_log_sd: 0.1}}");
    assert_eq!(samples(&arm, 4), samples(&arm, 4));
    assert_ne!(samples(&arm, 4), samples(&arm, 5));
    assert_eq!(samples(&arm, 4).map(|s| s.len()), Ok(6));
}

#[test]
fn time_is_simulated_whatever_the_script_says() {
    // A minute an iteration, on a device whose clock would be held against the harness's.
    let arm = arm("{backend: fake, decode_rate: 0.1, device: {kind: gpu}, real_time: true}");
    assert_eq!(samples(&arm, 0).map(|s| s.len()), Ok(6));
}

#[test]
fn a_fault_in_one_block_strikes_there_alone() {
    let arm = arm("{backend: fake, faults: [{kind: crash, exit: 3, blocks: [2]}]}");
    assert_eq!(samples(&arm, 1).map(|s| s.len()), Ok(6));
    let loss = samples(&arm, 2).expect_err("it crashes there");
    assert_eq!((loss.stage, loss.cause), (Stage::Run, LossCause::Exited("exit status 3".to_owned())));
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let start = |yaml: &str| SimulatedLauncher.launch(&arm(yaml), &Deadlines::default(), None).err();
    let loss = start("{backend: reference}").expect("no script");
    assert_eq!((loss.stage, loss.cause), (Stage::Spawn, LossCause::NotStarted));
    let loss = start("{backend: fake, decode_rat: 5}").expect("no such option");
    assert!(matches!(&loss.cause, LossCause::Refused(f) if f.kind == FailureKind::Unsupported));
    assert!(loss.message.contains("unknown field `decode_rat`"), "{}", loss.message);
}
