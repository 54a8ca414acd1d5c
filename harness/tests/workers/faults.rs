//! Every fault that a script can plant: what it is called, what is said about it, and that processes and simulation agree.

use crate::talk::{PATIENT, converse, fake, launcher, run_request};
use crate::trial;
use libtest_mimic::Trial;
use qa::run::simulated::SimulatedLauncher;
use qa::samples::{Loss, LossCause, Stage};
use qa::spec::Deadlines;
use qa_protocol::{Failure, FailureKind};
use std::time::{Duration, Instant};

/// The deadline of the stage at which a fault strikes by saying nothing.
const SHORT_S: f64 = 0.5;

struct Row {
    name: &'static str,
    fault: &'static str,
    stage: Stage,
    cause: LossCause,
    says: &'static str,
}

fn row(name: &'static str, fault: &'static str, stage: Stage, cause: LossCause, says: &'static str) -> Row {
    Row { name, fault, stage, cause, says }
}

fn rows() -> Vec<Row> {
    use LossCause::{Implausible, Protocol};
    use Stage::{Bye, Hello, Prepare, Run};
    let late = || LossCause::Deadline(SHORT_S);
    let ended = |words: &str| LossCause::Exited(words.to_owned());
    let refused = |kind, message: &str| LossCause::Refused(Failure { kind, message: message.to_owned() });
    vec![
        row(
            "hang_at_hello",
            "kind: hang, at: hello",
            Hello,
            late(),
            "send its `hello` within 0.5 s, did not, and was killed",
        ),
        row("hang_at_prepare", "kind: hang, at: prepare", Prepare, late(), "send `prepared` within 0.5 s"),
        row(
            "hang_after_a_sample",
            "kind: hang, after: 1",
            Run,
            late(),
            "send sample 1 of 3, counted from 0 within 0.5 s",
        ),
        row("hang_at_bye", "kind: hang, at: bye", Bye, late(), "leave within 0.5 s of `bye`, did not, and was killed"),
        row(
            "crash_with_a_status",
            "kind: crash, after: 1, exit: 3",
            Run,
            ended("exit status 3"),
            "ended instead: exit status 3",
        ),
        row(
            "crash_by_a_signal",
            "kind: crash, at: prepare",
            Prepare,
            ended("killed by SIGSEGV, an invalid memory access"),
            "killed by SIGSEGV",
        ),
        row(
            "crash_at_bye",
            "kind: crash, at: bye, exit: 9",
            Bye,
            ended("exit status 9"),
            "exit status 0 after `bye`: exit status 9",
        ),
        row(
            "garbage",
            "kind: garbage, message: Loading...",
            Run,
            Protocol,
            "not JSON (logs belong on standard error): `Loading...`",
        ),
        row(
            "garbage_at_bye",
            "kind: garbage, at: bye, message: so long",
            Bye,
            Protocol,
            "after `bye`, and sent `so long`",
        ),
        row("bytes_that_are_no_text", "kind: invalid_utf8", Run, Protocol, "not UTF-8: `caf\\xe9 \\xff\\xfe`"),
        row(
            "half_a_line_then_silence",
            "kind: half_line, after: 1",
            Run,
            Protocol,
            "stopped in the middle of a line: only `{\"id\":3",
        ),
        row(
            "half_a_line_then_the_end",
            "kind: half_line, exit: 4",
            Run,
            Protocol,
            "ended (exit status 4) in the middle of a line",
        ),
        row(
            "an_endless_line",
            "kind: oversized_line",
            Run,
            Protocol,
            "a line of more than 16777216 bytes, which begins `xxx",
        ),
        row(
            "a_reply_twice",
            "kind: duplicate_reply, at: prepare",
            Run,
            Protocol,
            "(request 3), and answered request 2 again",
        ),
        row(
            "a_sample_twice",
            "kind: duplicate_reply, after: 1",
            Run,
            Protocol,
            "send sample 2 of 3, counted from 0, and sent `{\"type\":\"sample\",\"index\":1",
        ),
        row(
            "done_twice",
            "kind: duplicate_reply, after: 3",
            Bye,
            Protocol,
            "after `bye`, and sent `{\"id\":3,\"type\":\"done\"}`",
        ),
        row("an_id_of_its_own", "kind: wrong_id, after: 2", Run, Protocol, "answered request 1003 which was not made"),
        row(
            "samples_out_of_order",
            "kind: out_of_order",
            Run,
            Protocol,
            "send sample 0 of 3, counted from 0, and sent `{\"type\":\"sample\",\"index\":1",
        ),
        row(
            "another_version",
            "kind: wrong_version",
            Hello,
            Protocol,
            "speaks version 2 of the protocol, and this qa version 1",
        ),
        row(
            "no_done",
            "kind: missing_done",
            Run,
            Protocol,
            "sent everything but the `done` that ends its 3 samples within 0.5 s",
        ),
        row("done_too_early", "kind: early_done, after: 2", Run, Protocol, "said `done` after 2 of 3 samples"),
        row(
            "a_sample_too_many",
            "kind: extra_sample",
            Run,
            Protocol,
            "send the `done` that ends its 3 samples, and sent `{\"type\":\"sample\",\"index\":3",
        ),
        row(
            "a_grandchild_with_the_pipes",
            "kind: grandchild, after: 1, exit: 5",
            Run,
            ended("exit status 5"),
            "ended instead: exit status 5",
        ),
        row(
            "blocked",
            "kind: blocked, message: no GPU here",
            Prepare,
            refused(FailureKind::Blocked, "no GPU here"),
            "no GPU here",
        ),
        row(
            "unsupported",
            "kind: unsupported",
            Prepare,
            refused(FailureKind::Unsupported, "this engine has no such option"),
            "no such option",
        ),
        row(
            "on_the_wrong_device",
            "kind: invalid, at: run",
            Run,
            refused(FailureKind::Invalid, "the engine ran on the CPU, and was asked to run on the GPU"),
            "ran on the CPU",
        ),
        row(
            "broken",
            "kind: failed, at: run, after: 1",
            Run,
            refused(FailureKind::Failed, "the engine broke"),
            "broke",
        ),
        row(
            "a_time_that_is_no_number",
            "kind: nan_time, after: 1",
            Run,
            Protocol,
            "JSON has numbers only, no NaN and no Infinity",
        ),
        row(
            "a_negative_time",
            "kind: negative_time, after: 1",
            Run,
            Implausible,
            "Sample 1 cannot be: `decode_ns` is -30000000, and a time is above 0.",
        ),
        row("no_time_at_all", "kind: zero_time", Run, Implausible, "`decode_ns` is 0, and a time is above 0"),
        row(
            "a_missing_time",
            "kind: missing_time",
            Run,
            Implausible,
            "no `decode_ns`, or null, which `decode_rate` is taken from",
        ),
        row("another_count", "kind: wrong_count", Run, Implausible, "decoded 10 tokens, and 4 were asked for"),
        row("another_prompt", "kind: wrong_prompt", Run, Implausible, "the prompt had 10 tokens, and 3 were asked for"),
        row("a_short_output", "kind: short_output", Run, Implausible, "3 generated tokens, and 4 were asked for"),
        row("a_timed_warm_up", "kind: wrong_flag", Run, Implausible, "it calls itself timed, and it is warm-up"),
        row(
            "tokens_slower_than_their_sum",
            "kind: slow_tokens",
            Run,
            Implausible,
            "took 60.000 ms together, and its whole decode 30.000 ms",
        ),
    ]
}

impl Row {
    /// Deadlines that are short where this fault is to miss one.
    fn deadlines(&self) -> Deadlines {
        let silent =
            matches!(self.cause, LossCause::Deadline(_)) || self.says.contains("0.5 s") || self.says.contains("only `");
        let mut deadlines = PATIENT;
        if silent {
            match self.stage {
                Stage::Prepare => deadlines.prepare_s = SHORT_S,
                Stage::Run => deadlines.iteration_s = SHORT_S,
                _ => deadlines.hello_s = SHORT_S,
            }
        }
        deadlines
    }

    fn is(&self, loss: &Loss) {
        assert_eq!((loss.stage, &loss.cause), (self.stage, &self.cause), "{}", loss.message);
        assert!(loss.message.contains(self.says), "{:?} is not in {:?}", self.says, loss.message);
    }

    fn check(&self) {
        let arm = fake(&format!("faults: [{{{}}}]", self.fault));
        let simulated = converse(&SimulatedLauncher, &arm, &self.deadlines()).expect_err("a simulated fault is a loss");
        self.is(&simulated);
        let begun = Instant::now();
        let real = converse(&launcher(), &arm, &self.deadlines()).expect_err("a fault is a loss");
        assert!(begun.elapsed() < Duration::from_secs(15), "took {:?}", begun.elapsed());
        self.is(&real);
        assert_eq!(simulated.message, real.message);
    }
}

/// One trial a fault, and what is none.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> =
        rows().into_iter().map(|row| trial(format!("fault::{}", row.name), move || row.check())).collect();
    trials.push(trial("fault::none_and_both_agree", || {
        let noisy =
            "noise: {seed: 7, process_log_sd: 0.02, iteration_log_sd: 0.01, autocorrelation: 0.5}, tokens: random";
        let simulated = converse(&SimulatedLauncher, &fake(noisy), &PATIENT);
        let real = converse(&launcher(), &fake(noisy), &PATIENT);
        assert_eq!(simulated, real);
        assert_eq!(real.map(|samples| samples.len()), Ok(3));
    }));
    trials.push(trial("fault::a_grandchild_that_outlives_an_honest_worker_is_no_fault", || {
        let samples = converse(&launcher(), &fake("faults: [{kind: grandchild}]"), &PATIENT);
        assert_eq!(samples.map(|s| s.len()), Ok(3));
    }));
    trials.push(trial("fault::each_sample_has_the_whole_deadline", || {
        let deadlines = Deadlines { iteration_s: 2.0, ..PATIENT };
        let slow = "faults: [{kind: slow_reply, ms: 900, after: 0}, {kind: slow_reply, ms: 900, after: 1}, \
                    {kind: slow_reply, ms: 900, after: 2}]";
        assert_eq!(converse(&launcher(), &fake(slow), &deadlines).map(|s| s.len()), Ok(3));
        assert_eq!(converse(&SimulatedLauncher, &fake(slow), &deadlines).map(|s| s.len()), Ok(3));
        let late = converse(&SimulatedLauncher, &fake("faults: [{kind: slow_reply, ms: 2100}]"), &deadlines);
        assert_eq!(late.map_err(|loss| loss.cause), Err(LossCause::Deadline(2.0)));
    }));
    trials.push(trial("fault::standard_error_is_drained_and_its_last_lines_kept", || {
        let flood = "faults: [{kind: stderr, lines: 200000}, {kind: crash, exit: 1, after: 1}]";
        let loss = converse(&launcher(), &fake(flood), &PATIENT).expect_err("it crashes");
        assert_eq!(loss.stderr_tail.len(), 20);
        assert_eq!(loss.stderr_tail[19], "scripted complaint 200000 of 200000");
        let few = "faults: [{kind: stderr, lines: 3}, {kind: crash, exit: 1, after: 1}]";
        let simulated = converse(&SimulatedLauncher, &fake(few), &PATIENT).map_err(|loss| loss.stderr_tail);
        assert_eq!(converse(&launcher(), &fake(few), &PATIENT).map_err(|loss| loss.stderr_tail), simulated);
    }));
    trials.push(trial("fault::a_clock_that_runs_faster_than_time", || {
        // Three samples of 43 ms by its own account, at once.
        let on_cpu = "device: {kind: cpu}, load_ms: 0";
        let loss = converse(&launcher(), &fake(on_cpu), &PATIENT).expect_err("nobody works in no time");
        assert_eq!(loss.cause, LossCause::Implausible);
        assert!(loss.message.contains("of work, and only"), "{}", loss.message);
        let slept = converse(&launcher(), &fake(&format!("{on_cpu}, real_time: true")), &PATIENT);
        assert_eq!(slept.map(|s| s.len()), Ok(3));
        let load = converse(&launcher(), &fake("device: {kind: cpu}, load_ms: 60000"), &PATIENT);
        assert_eq!(load.map_err(|loss| (loss.stage, loss.cause)), Err((Stage::Prepare, LossCause::Implausible)));
    }));
    trials.push(trial("fault::only_in_some_blocks", || {
        // The conversation of these tests is block 0, attempt 0.
        let held = |to: &str| converse(&launcher(), &fake(&format!("faults: [{{kind: hang, {to}}}]")), &PATIENT);
        assert_eq!(held("blocks: [1]").map(|s| s.len()), Ok(3));
        assert_eq!(held("attempts: [1, 2]").map(|s| s.len()), Ok(run_request().iterations as usize + 1));
    }));
    trials
}
