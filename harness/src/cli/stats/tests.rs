//! What `qa stats` reads, refuses and prints.

use super::analysis::{Analysis, Parameters};
use super::input::{Dataset, parse};
use super::{Error, json, text};
use crate::stats::bootstrap::Statistic;

const PARAMETERS: Parameters =
    Parameters { confidence: 0.95, margin: None, statistic: Statistic::Mean, seed: 1, process_cost: 20.0 };

/// Darwin's maize in inches, as in Fisher, The Design of Experiments, table 3: cross-fertilised, self-fertilised.
const MAIZE: &str = "cross,self
23.5,17.375
12,20.375
21,20
22,20
19.125,18.375
21.5,18.625
22.125,18.625
20.375,15.25
18.25,16.5
21.625,18
23.25,16.25
21,18
22.125,12.75
23,15.5
12,18
";

/// Davies' dyestuff, one row a preparation (the data of R's lme4).
fn dyestuff() -> String {
    let batches = [
        [1545, 1440, 1440, 1520, 1580],
        [1540, 1555, 1490, 1560, 1495],
        [1595, 1550, 1605, 1510, 1560],
        [1445, 1440, 1595, 1465, 1545],
        [1595, 1630, 1515, 1635, 1625],
        [1520, 1455, 1450, 1480, 1445],
    ];
    let rows = ["A", "B", "C", "D", "E", "F"].iter().zip(batches);
    rows.fold("yield,Process\n".to_owned(), |text, (name, batch)| {
        batch.iter().fold(text, |text, value| text + &format!("{value},{name}\n"))
    })
}

fn read(text: &str) -> Dataset {
    parse("data", text, &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> String {
    match parse("data", text, &[]) {
        Ok(dataset) => panic!("accepted as {dataset:?}"),
        Err(error) => error.to_string(),
    }
}

/// An error's message and those of what caused it.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

fn analyse(text: &str, parameters: Parameters) -> Result<Analysis, Error> {
    Analysis::of("data", &read(text), parameters)
}

fn json_of(text: &str, parameters: Parameters) -> serde_json::Value {
    serde_json::from_str(&json(&analyse(text, parameters).unwrap()).unwrap()).unwrap()
}

#[test]
fn shapes_of_a_table() {
    assert!(matches!(read("v\n1\n2\n"), Dataset::Sample(column) if column.name == "v" && column.values == [1.0, 2.0]));
    assert!(matches!(read("a, b\n1, 2\n3, 4\n"), Dataset::Pairs(a, b) if a.values == [1.0, 3.0] && b.name == "b"));
    // Comments, a byte-order mark, quotes, blank lines and interleaved processes.
    let text = "\u{feff}# runs\n\"process\",ns\nx,1\ny,2\n\nx,3\n";
    let Dataset::Nested(name, processes) = read(text) else { panic!("not nested") };
    assert_eq!(name, "ns");
    assert_eq!(processes.len(), 2);
    assert_eq!((processes[0].name.as_str(), processes[0].values.as_slice()), ("x", &[1.0, 3.0][..]));
}

#[test]
fn a_file_that_is_not_there() {
    let args = super::StatsArgs {
        file: "no/such/file.csv".into(),
        json: false,
        columns: vec![],
        confidence: 0.95,
        margin: None,
        statistic: super::StatisticName::Mean,
        process_cost: 1.0,
        seed: 1,
    };
    assert_eq!(chain(&super::run(&args).unwrap_err())[0], "cannot read no/such/file.csv");
}

#[test]
fn columns_can_be_chosen() {
    let columns = ["b".to_owned(), "a".to_owned()];
    let chosen = parse("data", "pair,a,b\n1,10,20\n", &columns).unwrap();
    assert!(matches!(chosen, Dataset::Pairs(first, _) if first.name == "b" && first.values == [20.0]));
    let missing = parse("data", "a,b\n1,2\n", &["c".to_owned()]).unwrap_err().to_string();
    assert!(missing.starts_with("data: there is no column \"c\" among a, b;"), "{missing}");
    let json = parse("data", "[1]", &columns).unwrap_err().to_string();
    assert!(json.contains("JSON has no columns to select"), "{json}");
}

#[test]
fn shapes_of_json() {
    assert!(matches!(read("[1, 2.5]"), Dataset::Sample(column) if column.values == [1.0, 2.5]));
    assert!(matches!(read(" {\"values\": [1]}"), Dataset::Sample(_)));
    assert!(matches!(read("{\"a\": [1], \"b\": [2]}"), Dataset::Pairs(..)));
    assert!(matches!(read("{\"processes\": [[1], [2, 3]]}"), Dataset::Nested(_, p) if p[1].values == [2.0, 3.0]));
}

#[test]
fn refusals_say_where_and_what() {
    for (text, expected) in [
        ("", "data has no values: expected a CSV file with a header and rows, or JSON"),
        ("v\n", "data has no values: expected a CSV file with a header and rows, or JSON"),
        ("[]", "data has no values: expected a CSV file with a header and rows, or JSON"),
        (
            "1\n2\n",
            "data:1: the first row holds numbers; expected the names of the columns, such as \"value\" or \"a,b\"",
        ),
        ("v\n1\nx\n", "data:3, column 1 (\"v\"): expected a finite number, found \"x\""),
        ("v\n1\nnan\n", "data:3, column 1 (\"v\"): expected a finite number, found \"nan\""),
        ("v\n1e999\n", "data:2, column 1 (\"v\"): expected a finite number, found \"1e999\""),
        ("a,b\n1,2\n1,\n", "data:3, column 2 (\"b\"): expected a finite number, found \"\""),
        (
            "a,b\n1,-2\n",
            "data:2, column 2 (\"b\"): expected a number above zero, since the ratio is analysed, found \"-2\"",
        ),
        ("a,b\n1,2\n3\n", "data:3: the row has 1 cells and the header 2"),
        ("process,ns\n,2\n", "data:2, column 1 (\"process\"): expected the name or number of a process, found \"\""),
        ("{\"a\": [1], \"b\": [1, 2]}", "data: \"a\" has 1 values and \"b\" has 2; pairs need as many on each side"),
        ("{\"a\": [1, 2], \"b\": [1, 0]}", "data: \"b\"[1] is 0; a ratio needs values above zero"),
    ] {
        assert_eq!(refusal(text), expected, "{text:?}");
    }
    for (text, expected) in [
        ("a,b,c\n1,2,3\n", "data: the columns are a, b, c; expected one column (a sample), two (pairs)"),
        ("process\n1\n", "data: the columns are process; expected"),
        (
            "[1,\n\"x\"]",
            "data: invalid type: string \"x\", expected f64 at line 2 column 3; expected a list of numbers",
        ),
        ("[1", "data: EOF while parsing a list at line 1 column 2; expected"),
        ("{\"a\": [1], \"c\": [1]}", "data: unknown field `c`, expected `a` or `b` at line 1"),
        ("{\"x\": 1}", "data: unknown field `x`, expected `values` at line 1"),
    ] {
        let found = refusal(text);
        assert!(found.starts_with(expected), "{text:?} gave {found}");
    }
}

#[test]
fn numbers_without_an_answer_name_the_file() {
    let parameters = Parameters { confidence: 0.3, ..PARAMETERS };
    assert_eq!(
        chain(&analyse("v\n1\n2\n", parameters).unwrap_err()),
        ["data: cannot analyse v", "the confidence is 0.3; it must lie strictly between 0.5 and 1"]
    );
    let parameters = Parameters { margin: Some(0.0), ..PARAMETERS };
    assert_eq!(
        chain(&analyse("a,b\n1,2\n", parameters).unwrap_err()),
        ["data: cannot analyse a against b", "the margin is 0; it must lie above zero"]
    );
}

#[test]
fn the_maize_as_json() {
    let found = json_of(MAIZE, PARAMETERS);
    assert_eq!(found["format"], "qa-stats/v1");
    assert_eq!((&found["kind"], &found["source"]), (&"pairs".into(), &"data".into()));
    assert_eq!(found["a"]["summary"]["n"], 15);
    // Means of Fisher's table: 302.875 / 15 and 263.625 / 15 inches.
    assert_eq!(found["a"]["summary"]["mean"], 302.875 / 15.0);
    assert_eq!(found["b"]["summary"]["mean"], 263.625 / 15.0);
    assert_eq!(found["sign_flip"]["method"]["assignments"], 32_768);
    assert_eq!(found["at_least"]["decision"], "inconclusive");
    let bounds = &found["at_least"]["bounds"];
    assert!(bounds["lower"].as_f64().unwrap() < 1.0 && bounds["upper"].as_f64().unwrap() > 1.0);
    for method in ["percentile", "expanded_percentile", "bootstrap_t", "bca"] {
        assert!(found["bootstrap"][method]["lower"].is_number(), "{method}");
    }
}

/// The maize again, as differences of heights in eighths of an inch. Printed in Fisher, The Design of Experiments (1935), section
/// 17: mean 314 / 15, its standard error 9.746 by the sum of squares, t = 2.148 for 14 degrees of freedom; and in section 21, that
/// 863 of the 32,768 ways to choose signs give as large a sum.
#[test]
fn fishers_maize_to_the_digits_that_he_printed() {
    let text = "difference\n49\n-67\n8\n16\n6\n23\n28\n41\n14\n29\n56\n24\n75\n60\n-48\n";
    let found = json_of(text, Parameters { margin: Some(0.0), confidence: 0.975, ..PARAMETERS });
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let bounds = &found["bounds"];
    assert_eq!(format!("{:.3}", number(&bounds["mean"])), "20.933");
    assert_eq!(format!("{:.3}", number(&bounds["standard_error"])), "9.746");
    assert_eq!(format!("{:.3}", number(&bounds["mean"]) / number(&bounds["standard_error"])), "2.148");
    assert!((number(&found["sign_flip"]["p_greater"]) - 863.0 / 32_768.0).abs() < 1e-15);
}

#[test]
fn nested_samples_as_json() {
    let found = json_of(&dyestuff(), PARAMETERS);
    assert_eq!((&found["kind"], &found["name"]), (&"nested".into(), &"yield".into()));
    let near = |value: &serde_json::Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-9;
    // lme4: 1764.05 between batches, 2451.25 within; ceil(sqrt(20 * 2451.25 / 1764.05)) = ceil(5.27).
    assert!(near(&found["components"]["between"], 1764.05));
    assert!(near(&found["components"]["within"], 2451.25));
    assert_eq!(found["optimal_iterations"], 6);
    assert_eq!(found["processes"].as_array().unwrap().len(), 6);
    assert_eq!(found["process_means"]["description"]["summary"]["n"], 6);
}

#[test]
fn a_single_value_has_nulls_and_no_error() {
    let parameters = Parameters { margin: Some(2.0), ..PARAMETERS };
    let found = json_of("v\n3\n", parameters);
    for absent in ["bounds", "at_least", "bootstrap"] {
        assert!(found[absent].is_null() && found.get(absent).is_some(), "{absent}");
    }
    assert_eq!(found["sign_flip"]["p_greater"], 0.5);
    let pair = json_of("a,b\n3,2\n", PARAMETERS);
    assert!(pair["at_least"].is_null() && pair["would_decide"].is_null());
    let text = text::render(&analyse("a,b\n3,2\n", PARAMETERS).unwrap());
    assert!(text.starts_with("data: 1 pair\n"), "{text}");
}

#[test]
fn a_seed_is_an_output() {
    let with = |seed| json_of(MAIZE, Parameters { seed, ..PARAMETERS });
    assert_eq!(with(3), with(3));
    assert_ne!(with(3)["bootstrap"], with(4)["bootstrap"]);
}

#[test]
fn a_sample_for_people() {
    let parameters = Parameters { margin: Some(9.0), statistic: Statistic::Median, ..PARAMETERS };
    let analysis = analyse("rate\n10\n11\n9.5\n10.5\n12\n", parameters).unwrap();
    insta::assert_snapshot!(text::render(&analysis), @r"
    data: one sample

    rate
      n                         5
      mean                      10.6
      sd                        0.9617692
      coefficient of variation  9.07 %
      median                    10.5
      MAD                       0.5
      min, max                  9.5, 12
      1, 5, 25, 75, 95, 99 %    9.52, 9.6, 10, 11, 11.8, 11.96
      lag-1 autocorrelation     -0.1918919
      t bounds, each 95 %       9.683058 to 11.51694
      mean at least 9           yes, one-sided p = 0.01023794
      sign flips, p of >, <, != 0.03125, 1, 0.0625 (exact, 32 assignments)

    bootstrap of the median, 95 % two-sided, 9999 resamples, seed 1
      estimate                  10.5
      standard error, bias      0.5586597, 0.02370237
      percentile                9.5 to 12
      expanded percentile       9.5 to 12
      bootstrap-t               9.25182 to 12.10728
      BCa                       9.5 to 12
    ");
}

#[test]
fn processes_for_people() {
    let analysis = analyse(&dyestuff(), PARAMETERS).unwrap();
    let text = text::render(&analysis);
    let from = text.find("variance components").unwrap();
    insta::assert_snapshot!(&text[from..], @r"
    variance components (Kalibera and Jones 2013)
      T1, within processes      2451.25
      T2, between processes     1764.05
      iterations a process      5
      best iterations a process 6

    most likely change of level
      from iteration (from 0)   1
      before, after             1540, 1524.375
      permutation p             0.5895
    ");
}
