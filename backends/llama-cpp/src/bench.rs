//! `llama-bench`: what it is asked, and what it answers.

use crate::oneshot::{self, Finished};
use crate::options::{Dialect, FlashAttention, Options};
use crate::programs::{Installation, Program, command};
use qa_protocol::Failure;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

/// What `llama-bench` times: `prompt` tokens in one go, or `generate` single tokens, after `depth` untimed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// `-p`
    pub prompt: u32,
    /// `-n`
    pub generate: u32,
    /// `-d`
    pub depth: u32,
    /// `-r`: how often. An untimed warm-up of its own comes before the first.
    pub repetitions: u32,
}

impl Test {
    /// `generate` single-token passes from a cache that holds a prompt.
    pub fn decode(prompt: u32, generate: u32, repetitions: u32) -> Self {
        Self { prompt: 0, generate, depth: prompt, repetitions }
    }

    /// The prompt alone, from an empty cache.
    pub fn prefill(prompt: u32, repetitions: u32) -> Self {
        Self { prompt, generate: 0, depth: 0, repetitions }
    }
}

/// The object that `llama-bench -o jsonl` prints for a test: the fields that are needed, by name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Report {
    /// Commit of the build.
    pub build_commit: String,
    /// Number of the build.
    pub build_number: i64,
    /// Backends that were compiled in, such as `CUDA` or `CPU`, separated by commas.
    pub backends: String,
    /// The processor.
    pub cpu_info: String,
    /// The graphics cards that it sees; empty when there is none.
    pub gpu_info: String,
    /// CPU threads.
    pub n_threads: u32,
    /// Layers for the GPU, as asked for: `-1` is llama.cpp's own choice.
    pub n_gpu_layers: i64,
    /// Fused attention, as asked for: a number or a truth value, by version.
    pub flash_attn: Value,
    /// Element type of cached keys.
    pub type_k: String,
    /// Element type of cached values.
    pub type_v: String,
    /// Logical batch size.
    pub n_batch: u32,
    /// Physical batch size.
    pub n_ubatch: u32,
    /// Prompt tokens timed.
    pub n_prompt: u32,
    /// Tokens generated.
    pub n_gen: u32,
    /// Tokens in the cache beforehand.
    pub n_depth: u32,
    /// Nanoseconds of each repetition.
    pub samples_ns: Vec<u64>,
    /// Everything that it printed, these fields included.
    #[serde(skip)]
    pub all: Map<String, Value>,
}

/// How far its times may be from those seen from outside, as a share and in milliseconds: lines take their time to arrive.
const TIMES_SHARE: f64 = 0.10;
const TIMES_MS: f64 = 50.0;

/// Fields that describe the test or its outcome, not the configuration.
const OUTCOME: [&str; 14] = [
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ns",
    "samples_ts",
];

impl Report {
    /// Read standard output. `version` is what the program calls itself, for messages.
    ///
    /// # Errors
    /// `failed` when it is not one JSON object, or a field that is needed is missing, which is named.
    pub fn parse(stdout: &str, version: &str) -> Result<Self, Failure> {
        let fail = |what: String| Err(Failure::failed(format!("llama-bench ({version}) {what}")));
        let mut lines = stdout.lines().filter(|line| !line.trim().is_empty());
        let Some(line) = lines.next() else { return fail("printed no result".into()) };
        let excerpt = |line: &str| line.chars().take(120).collect::<String>();
        let Ok(Value::Object(all)) = serde_json::from_str(line) else {
            return fail(format!("printed what is no JSON object where its result was expected: {}", excerpt(line)));
        };
        if let Some(more) = lines.next() {
            return fail(format!("printed more than the one result that was asked for: {}", excerpt(more)));
        }
        match serde_path_to_error::deserialize::<_, Self>(Value::Object(all.clone())) {
            Ok(report) => Ok(Self { all, ..report }),
            Err(e) => fail(format!(
                "printed a result that cannot be read: {e}; qa reads llama-bench from April 2025 on (with `-d`), and a \
                 newer one may have changed its output"
            )),
        }
    }

    /// Whether it did what was asked.
    ///
    /// # Errors
    /// `invalid`, naming what differs.
    fn check(&self, test: Test, options: &Options) -> Result<(), Failure> {
        let differs = |what: &str, asked: String, got: String| {
            Err(Failure::invalid(format!("llama-bench was asked for {what} {asked} and reports {got}")))
        };
        let counts = [
            ("n_prompt", Some(test.prompt), self.n_prompt),
            ("n_gen", Some(test.generate), self.n_gen),
            ("n_depth", Some(test.depth), self.n_depth),
            ("n_threads", options.threads, self.n_threads),
            ("n_batch", options.batch_size, self.n_batch),
            ("n_ubatch", options.ubatch_size, self.n_ubatch),
            ("repetitions", Some(test.repetitions), self.samples_ns.len() as u32),
        ];
        for (what, asked, got) in counts {
            if let Some(asked) = asked.filter(|&asked| asked != got) {
                return differs(what, asked.to_string(), got.to_string());
            }
        }
        for (what, asked, got) in
            [("type_k", &options.cache_type_k, &self.type_k), ("type_v", &options.cache_type_v, &self.type_v)]
        {
            if let Some(asked) = asked.as_ref().filter(|asked| *asked != got) {
                return differs(what, asked.clone(), got.clone());
            }
        }
        if let FlashAttention::Set(asked) = options.flash_attention {
            let spellings = if asked { [json!(true), json!(1)] } else { [json!(false), json!(0)] };
            if !spellings.contains(&self.flash_attn) {
                return differs("flash_attn", asked.to_string(), self.flash_attn.to_string());
            }
        }
        match self.samples_ns.iter().position(|&ns| ns == 0) {
            Some(at) => Err(Failure::failed(format!("llama-bench reports that repetition {at} took no time"))),
            None => Ok(()),
        }
    }

    /// Its times against the moments at which it announced its repetitions, `seen` from outside while it ran. A time that was
    /// written down wrong, or taken of something else, does not match them.
    ///
    /// # Errors
    /// `invalid`, with both.
    fn check_times(&self, seen: &[Duration]) -> Result<(), Failure> {
        let pairs =
            seen.iter().zip(&self.samples_ns).map(|(seen, told)| (seen.as_secs_f64() * 1e3, *told as f64 / 1e6));
        // A line may arrive late, of a busy machine; what a report leaves out or adds is there in every repetition.
        let nearest = pairs.min_by(|a, b| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()));
        match nearest {
            Some((seen, told)) if (seen - told).abs() > TIMES_MS.max(TIMES_SHARE * seen) => {
                Err(Failure::invalid(format!(
                    "llama-bench reports {told:.1} ms for a repetition that by its own progress took {seen:.1} ms, and no other is \
                 nearer: its report is not of what it ran"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The configuration as it reports it, without the test and its outcome.
    pub fn configuration(&self) -> Map<String, Value> {
        self.all
            .iter()
            .filter(|(name, _)| !OUTCOME.contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    }

    /// The build in a few words.
    pub fn build(&self) -> String {
        format!("build {}, commit {}", self.build_number, self.build_commit)
    }
}

/// What it is run on and how.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'a> {
    /// Where the program is.
    pub installation: &'a Installation,
    /// The model file.
    pub model: &'a Path,
    /// The arm's options.
    pub options: &'a Options,
    /// What the program calls itself.
    pub version: &'a str,
    /// How long a run may take at most.
    pub limit: Duration,
}

impl Bench<'_> {
    /// Run a test; nothing but the test happens in the program.
    ///
    /// # Errors
    /// `failed` when the program fails or its result cannot be read, `invalid` when it did something else.
    pub fn run(&self, test: Test) -> Result<(Report, Finished), Failure> {
        let (report, finished) = self.run_with(test, &["--progress"])?;
        report.check_times(&finished.stderr.repetitions())?;
        Ok((report, finished))
    }

    /// Generate one token with the log turned on: what is loaded where, and how long loading took.
    ///
    /// # Errors
    /// As [`Bench::run`].
    pub fn probe(&self) -> Result<(Report, Finished), Failure> {
        self.run_with(Test::decode(0, 1, 1), &["-v", "--progress"])
    }

    fn run_with(&self, test: Test, more: &[&str]) -> Result<(Report, Finished), Failure> {
        let mut command = command(&self.installation.path(Program::Bench)?);
        command.arg("-m").arg(self.model).args(["-o", "jsonl"]);
        let counts = [("-p", test.prompt), ("-n", test.generate), ("-d", test.depth), ("-r", test.repetitions)];
        for (name, count) in counts {
            command.args([name, &count.to_string()]);
        }
        command.args(self.options.arguments(Dialect::Bench)).args(more);
        let finished = oneshot::run(command, self.limit)?;
        let report = Report::parse(&finished.stdout, self.version)?;
        report.check(test, self.options)?;
        Ok((report, finished))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::FailureKind;

    /// What llama.cpp 0c1e570 printed for `-p 0 -n 128 -d 32 -r 3`, shortened.
    fn printed() -> Value {
        json!({
            "build_commit": "0c1e570", "build_number": 1, "cpu_info": "AMD EPYC", "gpu_info": "", "backends": "CPU",
            "model_filename": "tiny.gguf", "model_size": 6_153_216, "n_batch": 2048, "n_ubatch": 512, "n_threads": 2,
            "type_k": "f16", "type_v": "f16", "n_gpu_layers": -1, "flash_attn": -1, "devices": "auto", "n_prompt": 0,
            "n_gen": 128, "n_depth": 32, "test_time": "2026-11-22T08:55:39Z", "avg_ns": 1_429_454_403,
            "samples_ns": [2_628_371_834_u64, 1_022_123_302, 637_868_075], "samples_ts": [48.6994, 125.23, 200.668]
        })
    }

    const TEST: Test = Test { prompt: 0, generate: 128, depth: 32, repetitions: 3 };

    fn parse(value: &Value) -> Result<Report, Failure> {
        Report::parse(&format!("{value}\n"), "version 5")
    }

    #[test]
    fn a_result_is_read_by_name() {
        let report = parse(&printed()).unwrap();
        assert_eq!(report.samples_ns, [2_628_371_834, 1_022_123_302, 637_868_075]);
        assert_eq!(report.check(TEST, &Options::default()), Ok(()));
        let configuration = report.configuration();
        assert_eq!(configuration["devices"], "auto");
        assert!(!configuration.contains_key("test_time") && !configuration.contains_key("samples_ns"));
    }

    #[test]
    fn added_fields_are_accepted() {
        let mut value = printed();
        value["n_new_thing"] = json!({"a": [1, 2]});
        value["flash_attn"] = json!(false);
        let report = parse(&value).unwrap();
        assert_eq!(report.configuration()["n_new_thing"], json!({"a": [1, 2]}));
    }

    #[test]
    fn each_missing_field_is_refused_by_name() {
        for field in [
            "build_commit",
            "build_number",
            "backends",
            "cpu_info",
            "gpu_info",
            "n_threads",
            "n_gpu_layers",
            "flash_attn",
            "type_k",
            "type_v",
            "n_batch",
            "n_ubatch",
            "n_prompt",
            "n_gen",
            "n_depth",
            "samples_ns",
        ] {
            let mut value = printed();
            value.as_object_mut().unwrap().remove(field);
            let failure = parse(&value).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Failed);
            assert!(failure.message.contains(&format!("missing field `{field}`")), "{failure}");
            assert!(failure.message.contains("version 5"), "{failure}");
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let check = |stdout: &str, what: &str| {
            let failure = Report::parse(stdout, "version 5").unwrap_err();
            assert!(failure.message.contains(what), "{failure}");
        };
        let good = printed().to_string();
        check("", "printed no result");
        check("ggml: hello\n", "no JSON object where its result was expected: ggml: hello");
        check(&good[..good.len() / 2], "no JSON object");
        check(&format!("{good}\n{good}\n"), "more than the one result");
        let mut negative = printed();
        negative["samples_ns"][1] = json!(-5);
        check(&negative.to_string(), "samples_ns[1]: invalid value: integer `-5`");
    }

    #[test]
    fn times_must_be_those_that_were_seen() {
        // The report says 2628, 1022 and 638 ms; the last repetition is not seen.
        let check = |seen: [u64; 2]| parse(&printed()).unwrap().check_times(&seen.map(Duration::from_millis));
        assert_eq!(check([2630, 1024]), Ok(()));
        assert_eq!(check([2800, 1120]), Ok(()), "a tenth is borne");
        assert_eq!(parse(&printed()).unwrap().check_times(&[]), Ok(()), "a program that announces nothing");
        for twice in [[5256, 2044], [1314, 511]] {
            let failure = check(twice).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Invalid);
            assert!(failure.message.contains("its report is not of what it ran"), "{failure}");
        }
    }

    #[test]
    fn a_result_of_another_test_is_invalid() {
        let check = |field: &str, value: Value, options: Value, what: &str| {
            let mut printed = printed();
            printed[field] = value;
            let options = Options::from_json(options.as_object().unwrap()).unwrap();
            let failure = parse(&printed).unwrap().check(TEST, &options).unwrap_err();
            assert!(failure.message.contains(what), "{failure}");
            failure.kind
        };
        assert_eq!(check("n_gen", json!(64), json!({}), "n_gen 128 and reports 64"), FailureKind::Invalid);
        check("n_depth", json!(0), json!({}), "n_depth 32 and reports 0");
        check("samples_ns", json!([1, 2]), json!({}), "repetitions 3 and reports 2");
        check("n_threads", json!(2), json!({"threads": 4}), "n_threads 4 and reports 2");
        check("type_k", json!("f16"), json!({"cache_type_k": "q8_0"}), "type_k q8_0 and reports f16");
        check("flash_attn", json!(0), json!({"flash_attention": true}), "flash_attn true and reports 0");
        check("flash_attn", json!(-1), json!({"flash_attention": false}), "flash_attn false and reports -1");
        assert_eq!(check("samples_ns", json!([1, 0, 2]), json!({}), "repetition 1 took no time"), FailureKind::Failed);
    }
}
