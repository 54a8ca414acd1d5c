//! Files that mean harm: whatever they hold, they are refused in few words and little time.

use super::{BASE, Files};
use std::time::{Duration, Instant};

/// More than anything here takes on a slow machine, and far less than what grows with the square of a file.
const PATIENCE: Duration = Duration::from_secs(20);

fn refused(text: &str) -> String {
    let start = Instant::now();
    let (messages, shown) = Files::of(&[("spec.yaml", text)]).errors(&[], &[]);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(shown.len() < 200_000, "{} bytes are shown", shown.len());
    messages.join("\n")
}

#[test]
fn endless_values_are_cut() {
    let long = "x".repeat(500_000);
    let begins = |text: String, expected: &str| {
        let message = refused(&text);
        assert!(message.contains(expected) && message.len() < 1000, "{message}");
    };
    begins(BASE.replace("decode_rate", &long), "unknown value `xxxxxxxxxx");
    begins(BASE.replace("iterations: 5", &format!("iterations: {long}")), "`sampling.iterations` is of the wrong kind");
    begins(BASE.replace("of: cached", &format!("of: {long}")), "there is no arm `xxxxxxxxxx");
    begins(BASE.replace("name: base", &format!("name: ${{{long}")), "`${` is never closed");
    begins(BASE.replace("name: base", &format!("name: ${{{long}}}")), "is not a reference");
    begins(BASE.replace("name: base", &format!("{}: 1", &long[..500])), "a name has 500 bytes");
}

#[test]
fn many_errors_are_not_all_shown() {
    let fields: Vec<String> = (0..20_000).map(|i| format!("field{i}: {i}\n")).collect();
    assert!(
        refused(&(BASE.to_owned() + &fields.concat())).starts_with("unknown field `field0` in the specification\n")
    );
    let entries: Vec<String> =
        (0..3_000).map(|i| format!("  - {{ id: E{i}, title: \"\", needs: [E{}] }}\n", i + 1)).collect();
    refused(&(BASE.to_owned() + &entries.concat()));
    let lines: String = "[".repeat(30) + &"]".repeat(30);
    refused(&BASE.replace("name: base", &format!("name: {lines}")));
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let files = Files::of(&[("spec.yaml", "")]);
    for bytes in [&b"\xff\xfe\x00"[..], b"apiVersion: \xc3\x28"] {
        std::fs::write(files.path(), bytes).unwrap();
        let errors = files.load(&[], &[]).unwrap_err();
        assert!(errors.to_string().contains("it is not text in UTF-8"), "{errors}");
    }
    for text in [
        "\0",
        "a: \u{1}",
        "\u{feff}apiVersion: qa/v1",
        "%YAML 9.9\n---\na: 1",
        "? a\n? b\n",
        "&a",
        "!!",
        "'",
        "\"\\x\"",
    ] {
        std::fs::write(files.path(), text).unwrap();
        assert!(files.load(&[], &[]).is_err(), "{text:?}");
    }
}

#[test]
fn ten_thousand_cases_are_no_trouble() {
    let cases = (0..10_000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let text = BASE
        .replace("id: FAST", "id: \"FAST-${matrix.case}\"")
        .replace("    title:", &format!("    matrix: {{ case: [{cases}] }}\n    title:"));
    let start = Instant::now();
    let files = Files::of(&[("spec.yaml", &text)]);
    let spec = files.load(&[], &[]).unwrap_or_else(|errors| panic!("{errors}")).spec;
    assert_eq!(spec.acceptance.len(), 10_000);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
