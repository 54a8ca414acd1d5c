//! What a specification would run that its user did not choose.

use super::Files;

const SPEC: &str = "
apiVersion: qa/v1
name: own
models: { m: { path: m.gguf } }
workloads: { decode: { prompt_tokens: 1, generate_tokens: 3, ignore_eos: true } }
arms:
  folder: { backend: llama-cpp, model: m, programs: ./llama }
  found: { backend: llama-cpp, model: m }
  plugin: { backend: plugin, command: [./engine, --fast], output: unchecked }
  scripted: { backend: fake }
  twin: { backend: plugin, command: [./engine, --fast], output: unchecked }
checkpoints:
  - { id: FOLDER, title: t, require: { metric: decode_rate, of: folder, at_least: 1 } }
  - { id: FOUND, title: t, require: { metric: decode_rate, of: found, at_least: 1 } }
  - { id: PLUGIN, title: t, require: { metric: decode_rate, of: plugin, over: twin, at_least: 1 } }
  - { id: FAKE, title: t, require: { metric: decode_rate, of: scripted, at_least: 1 } }
acceptance:
  - { id: TESTS, title: t, program: { argv: [sh, -c, exit 0] } }
";

fn named(sets: &[&str]) -> Vec<String> {
    let loaded = Files::of(&[("spec.yaml", SPEC)]).load(sets, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let found = loaded.own_programs(&loaded.spec);
    found.into_iter().map(|program| format!("{}: {}", program.place, program.words)).collect()
}

#[test]
fn what_the_file_names_is_its_own_and_what_the_command_line_names_is_the_users() {
    let [plugin, folder, check] = [
        "arms.plugin.command: ./engine --fast",
        "arms.folder.programs: ./llama",
        "acceptance.TESTS.program.argv: sh -c exit 0",
    ];
    assert_eq!(named(&[]), [folder, plugin, check]);
    assert_eq!(named(&["arms.folder.programs=/opt/llama"]), [plugin, check]);
    assert_eq!(named(&["acceptance.TESTS.program.argv=[make]"]), [folder, plugin]);
    let both = ["arms.plugin.command=[mine]", "arms.twin.command=[mine]"];
    assert_eq!(named(&both), [folder, check]);
}

#[test]
fn what_is_not_selected_is_not_asked_about() {
    let loaded = Files::of(&[("spec.yaml", SPEC)]).load(&[], &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let selected = |id: &str| crate::plan::select(&loaded.spec, &[id.to_owned()]).unwrap();
    assert_eq!(loaded.own_programs(&selected("FAKE")), []);
    assert_eq!(loaded.own_programs(&selected("TESTS")).len(), 1);
}
