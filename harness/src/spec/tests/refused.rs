//! Every rule, broken: the words, and what a terminal shows.

use super::{BASE, Files, Shown, changed, snapshot};

/// A change of the base that must be refused: what is replaced, by what, and the messages.
type Row = (&'static str, &'static str, &'static [&'static str]);

fn check(name: &str, rows: &[Row]) {
    let mut all = Shown::default();
    for (from, to, expected) in rows {
        let (messages, shown) = changed(BASE, from, to);
        assert_eq!(messages, *expected, "after replacing `{from}` by `{to}`\n{shown}");
        all.add(&format!("`{from}` -> `{to}`"), &shown);
    }
    all.snapshot(name);
}

#[test]
fn shapes() {
    check(
        "shapes",
        &[
            ("iterations: 5", "iteratons: 5", &["unknown field `iteratons` in `sampling`"]),
            ("name: base", "name: base\ncolour: red", &["unknown field `colour` in the specification"]),
            ("qa/v1", "qa/v2", &["unknown value `qa/v2` of `apiVersion`"]),
            ("name: base\n", "", &["the specification lacks the field `name`"]),
            ("iterations: 5", "iterations: five", &["`sampling.iterations` is of the wrong kind"]),
            ("iterations: 5", "iterations: -5", &["`sampling.iterations` is of the wrong kind"]),
            ("iterations: 5", "iterations: 2.5", &["`sampling.iterations` is of the wrong kind"]),
            ("blocks: 6", "blocks: many", &["`sampling.blocks` is of the wrong kind"]),
            ("blocks: 6", "blocks: { look: [6, 10] }", &["unknown field `look` in `sampling.blocks`"]),
            ("blocks: 6", "blocks: { looks: [6, x] }", &["`sampling.blocks.looks[1]` is of the wrong kind"]),
            ("name: base", "name: 12", &["`name` is of the wrong kind"]),
            ("decode_rate", "decode_speed", &["unknown value `decode_speed` of `acceptance.FAST.require.metric`"]),
            (
                "of: cached, over: uncached",
                "off: cached, over: uncached",
                &["unknown field `off` in `acceptance.FAST.require`"],
            ),
            ("of: cached, ", "", &["`acceptance.FAST.require` lacks the field `of`"]),
            (
                "of: cached, over: uncached",
                "of: cached, over: uncached, per: card",
                &["unknown value `card` of `acceptance.FAST.require.per`"],
            ),
            (
                "of: cached, over: uncached",
                "of: cached, over: uncached, per: gpu_model",
                &[
                    "`per: gpu_model` of `FAST` is about cards, and `cached` computes on none",
                    "`per: gpu_model` of `FAST` is about cards, and `uncached` computes on none",
                ],
            ),
            ("model: tiny }", "model: tiny, thread: 2 }", &["unknown field `thread` in `arms.cached`"]),
            ("kv_cache: false", "kv_cache: maybe", &["`arms.uncached.kv_cache` is of the wrong kind"]),
            (
                "kv_cache: false",
                "threads: 0",
                &["option `threads` of the reference backend must be a whole number from 1 to 1024, but is 0"],
            ),
            (
                "backend: reference, model: tiny }",
                "backend: referense, model: tiny }",
                &["unknown value `referense` of `arms.cached.backend`"],
            ),
        ],
    );
}

#[test]
fn names() {
    check(
        "names",
        &[
            ("name: base", "name: a/b", &["the name `a/b` holds `/`"]),
            ("name: base", "name: .hidden", &["the name `.hidden` begins with `.`"]),
            ("name: base", "name: \"\"", &["a name is empty"]),
            ("id: FAST", "id: \"FAST\\n\"", &["the name `FAST\\n` holds `\\n`"]),
            ("id: FAST", "id: <script>", &["the name `<script>` holds `<`"]),
            ("reference, model: tiny }", "reference, model: tyny }", &["there is no model `tyny`"]),
            ("reference, model: tiny }", "reference }", &["the arm `cached` has no model"]),
            ("of: cached", "of: cache", &["there is no arm `cache`"]),
            ("at_least: 2", "at_least: 2, workload: decod", &["there is no workload `decod`"]),
            (
                "  decode: {",
                "  short: { prompt_tokens: 2, generate_tokens: 2 }\n  long: {",
                &[
                    "no claim uses the workload `short`",
                    "no claim uses the workload `long`",
                    "`require` of `FAST` does not say which workload",
                ],
            ),
            ("sampling: {", "  spare: { backend: fake }\nsampling: {", &["no claim uses the arm `spare`"]),
            ("workloads:", "  spare: { path: x.gguf }\nworkloads:", &["no arm uses the model `spare`"]),
            (
                "acceptance:\n",
                "checkpoints:\n  - { id: FAST, title: Again, reproducible: { of: cached } }\nacceptance:\n",
                &["the id `FAST` is given twice"],
            ),
            ("    title: The", "    needs: [FASTER]\n    title: The", &["there is no entry `FASTER`"]),
            ("    title: The", "    needs: [FAST]\n    title: The", &["`FAST` needs itself"]),
            (
                "    title: The",
                "    needs: [B]\n    title: The cache pays\n    reproducible: { of: cached }\n  - id: B\n    needs: [C]\n    title: B\n    \
             reproducible: { of: cached }\n  - id: C\n    needs: [FAST, B]\n    title: The",
                &["`FAST`, `B` and `C` need each other in a ring", "`B` and `C` need each other in a ring"],
            ),
        ],
    );
}

#[test]
fn numbers() {
    check(
        "numbers",
        &[
            ("prompt_tokens: 8", "prompt_tokens: 0", &["`workloads.decode.prompt_tokens` is 0"]),
            ("generate_tokens: 16", "generate_tokens: 0", &["`workloads.decode.generate_tokens` is 0"]),
            (
                "generate_tokens: 16",
                "generate_tokens: 1",
                &["`require` of `FAST` times decoding, and `decode` decodes nothing"],
            ),
            (
                "generate_tokens: 16",
                "generate_tokens: 16, sampling: { random: { temperature: 0, top_k: 0, top_p: 1.5, seed: 1 } }",
                &[
                    "`workloads.decode.sampling.random.temperature` is 0",
                    "`workloads.decode.sampling.random.top_p` is 1.5",
                ],
            ),
            ("blocks: 6", "blocks: 0", &["`sampling.blocks` is 0"]),
            ("blocks: 6", "blocks: 1", &["`sampling.blocks` is 1"]),
            (
                "blocks: 6",
                "blocks: { looks: [6, 10, 10, 8] }",
                &["the looks do not increase: 10 comes after 10", "the looks do not increase: 8 comes after 10"],
            ),
            ("blocks: 6", "blocks: { looks: [0, 10] }", &["the first look is at 0 blocks"]),
            ("blocks: 6", "blocks: { looks: [] }", &["the list of looks is empty"]),
            ("iterations: 5", "iterations: 0", &["`sampling.iterations` is 0"]),
            ("iterations: 5", "confidence: 0.5", &["`sampling.confidence` is 0.5"]),
            ("iterations: 5", "confidence: 95", &["`sampling.confidence` is 95"]),
            ("iterations: 5", "confidence: .nan", &["a number must be finite"]),
            (
                "iterations: 5",
                "deadlines: { hello_s: 0, score_s: 1e9 }",
                &["`sampling.deadlines.hello_s` is 0", "`sampling.deadlines.score_s` is 1000000000"],
            ),
            (", at_least: 2", "", &["`require` of `FAST` has 0 margins"]),
            ("at_least: 2", "at_least: 2, at_most: 3", &["`require` of `FAST` has 2 margins"]),
            ("at_least: 2", "at_least: 0", &["`acceptance.FAST.require.at_least` is 0"]),
            ("at_least: 2", "at_most: -1", &["`acceptance.FAST.require.at_most` is -1"]),
            ("at_least: 2", "within: [1.1, 0.9]", &["`within` begins at 1.1 and ends at 0.9"]),
            ("at_least: 2", "within: [-1, 0.9]", &["`acceptance.FAST.require.within` is [-1, 0.9]"]),
            ("at_least: 2", "at_least: 2, confidence: 1", &["`acceptance.FAST.require.confidence` is 1"]),
        ],
    );
}

/// The base with a check in the place of `require`.
fn check_checks(name: &str, rows: &[(&str, &[&str])]) {
    const USES_BOTH: &str = "    significance: { metric: decode_rate, of: cached, over: uncached, p_below: 0.05 }\n";
    let require = BASE.lines().last().unwrap();
    let mut all = Shown::default();
    for (checks, expected) in rows {
        let text = BASE.replace(&format!("{require}\n"), &format!("{USES_BOTH}    {checks}\n"));
        let (messages, shown) = Files::of(&[("spec.yaml", &text)]).errors(&[], &[]);
        assert_eq!(messages, *expected, "{checks}\n{shown}");
        all.add(checks, &shown);
    }
    all.snapshot(name);
}

#[test]
fn checks() {
    check_checks(
        "checks",
        &[
            (
                "gain: { metric: decode_rate, of: cached, over: cached, claimed: 1.3 }",
                &["`gain` of `FAST` compares `cached` with itself"],
            ),
            (
                "gain: { metric: decode_rate, of: cached, over: uncached, claimed: 0 }",
                &["`acceptance.FAST.gain.claimed` is 0"],
            ),
            (
                "require: { metric: decode_rate, of: cached, over: cached, at_least: 1 }",
                &["`require` of `FAST` compares `cached` with itself"],
            ),
            (
                "require: { metric: decode_rate, of: cached, over: uncached, at_least: 1, control: aa }",
                &["`control: aa` compares an arm with itself"],
            ),
            (
                "require: { metric: decode_rate, of: cached, at_least: 1, control: aa }",
                &["`control: aa` compares an arm with itself"],
            ),
            (
                "projection: { metric: decode_rate, of: cached, value: -5, source: hope }",
                &["`acceptance.FAST.projection.value` is -5"],
            ),
            (
                "variation: { metric: decode_rate, of: cached, at_most: 5 }",
                &["`acceptance.FAST.variation.at_most` is 5"],
            ),
            (
                "effect: { metric: decode_rate, of: cached, over: uncached, at_least: 0 }",
                &["`acceptance.FAST.effect.at_least` is 0"],
            ),
            (
                "significance: { metric: decode_rate, of: cached, over: uncached, p_below: 1 }",
                &["`significance` is given twice"],
            ),
            ("correct: { arm: cached, against: cached }", &["`correct` of `FAST` compares `cached` with itself"]),
            ("correct: { arm: cached, against: referense }", &["there is no arm `referense`"]),
            (
                "correct: { arm: cached, against: reference, tokens: 100, context: 64 }",
                &["`acceptance.FAST.correct.tokens` is 100"],
            ),
            ("correct: { arm: cached, against: reference, context: 1 }", &["`acceptance.FAST.correct.context` is 1"]),
            (
                "correct: { arm: cached, against: reference, tolerance: loose }",
                &["unknown value `loose` of `acceptance.FAST.correct.tolerance`"],
            ),
            (
                "correct: { arm: cached, against: reference, tolerance: { mean_kl: 0, top1_margin: 0.1, ln_ppl: 0.1 } }",
                &["`acceptance.FAST.correct.tolerance.mean_kl` is 0"],
            ),
            (
                "correct: { arm: cached, against: reference, tolerance: { mean_kl: 0.1, ln_ppl: 0.1 } }",
                &["`acceptance.FAST.correct.tolerance` lacks the field `top1_margin`"],
            ),
            ("witness: { arm: cached }", &["the witness of `cached` bounds no counter"]),
            ("witness: { arm: cached, positions_per_token: {} }", &["the bound `positions_per_token` bounds nothing"]),
            (
                "witness: { arm: cached, positions_per_token: { at_least: 2, at_most: 1 } }",
                &["the bound `positions_per_token` asks for at least 2 and at most 1"],
            ),
            (
                "witness: { arm: cached, positions_per_token: { at_most: -1 } }",
                &["the bound `positions_per_token` is negative"],
            ),
            (
                "witness: { arm: cached, launches_per_token: { at_most: 1 } }",
                &["`cached` can never count `launches_per_token`: it computes on the CPU, without launches"],
            ),
            ("kernel: { arm: cached, entry: x }", &["`cached` can never answer `kernel`: it computes on the CPU"]),
            ("gpu: { arms: [], state: exclusive }", &["`gpu` of `FAST` names no arm"]),
            ("gpu: { arms: [cached], state: exclusive }", &["`cached` can never answer `gpu`: it computes on the CPU"]),
            ("facts: { arms: [cached, cached], fact: same_inputs }", &["`facts` of `FAST` names `cached` twice"]),
            (
                "samples: { arms: [cached], iterations_at_least: 31, processes_at_least: 7 }",
                &[
                    "`iterations_at_least` is 31, and `sampling` plans at most 30",
                    "`processes_at_least` is 7, and `sampling` plans at most 6",
                ],
            ),
            (
                "samples: { arms: [cached], iterations_at_least: 0, processes_at_least: 1 }",
                &["`iterations_at_least` is 0"],
            ),
            ("soak: { of: cached, duration_s: 0, run_s: 10 }", &["`acceptance.FAST.soak.duration_s` is 0"]),
            (
                "soak: { of: cached, duration_s: 10, run_s: 10, drift_at_most: 5 }",
                &["`acceptance.FAST.soak.drift_at_most` is 5"],
            ),
            ("program: { argv: [] }", &["the program has no name"]),
            (
                "program: { argv: [x], exit: 256, timeout_s: -1 }",
                &["`acceptance.FAST.program.exit` is 256", "`acceptance.FAST.program.timeout_s` is -1"],
            ),
            (
                "require: { metric: peak_device_memory, of: cached, at_most: 1 }",
                &["`cached` can never give `peak_device_memory`: it computes on the CPU"],
            ),
        ],
    );
}

#[test]
fn entries_models_and_arms() {
    let require = "    require: { metric: decode_rate, of: cached, over: uncached, at_least: 2 }\n";
    let mut all = Shown::default();
    for (from, to, expected) in [
        (
            &BASE[BASE.find("acceptance:").unwrap()..],
            "",
            &[
                "the specification claims nothing",
                "no claim uses the workload `decode`",
                "no claim uses the arm `cached`",
                "no claim uses the arm `uncached`",
            ][..],
        ),
        (
            require,
            "",
            &[
                "no claim uses the workload `decode`",
                "no claim uses the arm `cached`",
                "no claim uses the arm `uncached`",
                "`FAST` checks nothing",
            ],
        ),
        ("{ embedded: tiny-coder }", "{}", &["the model `tiny` comes from nowhere"]),
        (
            "{ embedded: tiny-coder }",
            "{ path: hf://me/tiny.gguf }",
            &["`hf://me/tiny.gguf` is not `hf://owner/repo/file.gguf`, with `@revision` after it or without"],
        ),
        (
            "{ embedded: tiny-coder }",
            "{ embedded: tiny-coder, synthesize: { preset: tiny, quantization: q8_0 } }",
            &["the model `tiny` is given twice"],
        ),
        (
            "{ embedded: tiny-coder }",
            "{ synthesize: { preset: tinny, quantization: q9_0 } }",
            &["there is no preset `tinny`", "there is no quantization `q9_0`"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: plugin }",
            &["the plugin arm `cached` has no command", "`cached` and `uncached` have different models"],
        ),
        ("model: tiny }", "model: tiny, command: [x] }", &["the arm `cached` has a command and is no plugin"]),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: native, model: tiny, kv_cache: f16 }",
            &["unknown field `kv_cache` in `arms.cached`"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: native, model: tiny, optimizations: [graphs] }",
            &["unknown value `graphs` of `arms.cached.optimizations[0]`"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: native, model: tiny, draft: prompt_lookup }",
            &[
                "option `draft` of the native backend says where drafts come from, and there are none: give `draft_tokens`",
            ],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: native, model: tiny, draft_tokens: 4, draft: { acceptance: 1.5 } }",
            &["option `draft` of the native backend must be `prompt_lookup`, or `{ acceptance, seed }`"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: fake, model: tiny, decode_rate: fast }",
            &["`arms.cached.decode_rate` is of the wrong kind"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: fake, model: tiny, noise: { process_log_sd: -1 } }",
            &["the script of this `fake` arm is wrong: `noise.process_log_sd` is -1, and must not be negative"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: ollama, model: tiny, device: moon, output: unchecked }",
            &["unknown value `moon` of `arms.cached.device`"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: ollama, model: tiny }",
            &["the output of `cached` can never be checked: Ollama returns text, neither token ids nor probabilities"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: openai, model: tiny, url: \"http://127.0.0.1:8000\" }",
            &["`decode_rate` of `cached` is taken by a client over HTTP, that of `uncached` inside its process"],
        ),
        (
            "cached: { backend: reference, model: tiny }",
            "cached: { backend: llama-cpp, model: tiny }",
            &["`decode` may end early, and `cached` never does"],
        ),
        ("  decode:", "  deco\u{202e}de:", &["the name `deco\\u{202e}de` holds `\\u{202e}`"]),
    ] {
        let (messages, shown) = changed(BASE, from, to);
        let begins = messages.len() == expected.len() && messages.iter().zip(expected).all(|(m, e)| m.starts_with(e));
        assert!(begins, "after replacing `{from}` by `{to}`: {messages:?}\n{shown}");
        all.add(&format!("`{from}` -> `{to}`"), &shown);
    }
    all.snapshot("entries_models_and_arms");
}

#[test]
fn baselines() {
    const UNUSED: &str = "no claim uses the arm `uncached`";
    check(
        "baselines",
        &[
            ("over: uncached", "over: 7", &["`acceptance.FAST.require.over` is of the wrong kind"]),
            (
                "over: uncached",
                "over: { baselin: main }",
                &[UNUSED, "unknown field `baselin` in `acceptance.FAST.require.over`"],
            ),
            ("over: uncached", "over: {}", &["`acceptance.FAST.require.over` lacks the field `baseline`"]),
            ("over: uncached", "over: { baseline: ' ' }", &[UNUSED, "a baseline has no name"]),
            (
                "over: uncached",
                "over: { baseline: main, max_age_h: 0 }",
                &[UNUSED, "`acceptance.FAST.require.over.max_age_h` is 0"],
            ),
            (
                "over: uncached",
                "over: { baseline: main }, control: aa",
                &[UNUSED, "`control: aa` compares an arm with itself"],
            ),
        ],
    );
}

#[test]
fn every_error_is_reported_at_once() {
    let text = BASE
        .replace("iterations: 5", "iterations: five, warm_up: 2")
        .replace("metric: decode_rate", "metrik: decode_rat")
        .replace("embedded: tiny-coder", "embeded: tinycoder");
    let (messages, shown) = Files::of(&[("spec.yaml", &text)]).errors(&[], &[]);
    assert_eq!(messages.len(), 6, "{shown}");
    snapshot("every_error_is_reported_at_once", &shown);
}
