//! Fetching from a hub on the loopback, and faults that a real one will not produce on demand.

use super::{Found, Lookup, Name, find};
use qa_model::hash::sha256_bytes;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NAME: &str = "hf://me/tiny/q4/tiny.gguf";

/// What a hub does in the middle of a body.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It closes the connection.
    Closes,
    /// It keeps it open, and is silent.
    Stalls,
}

/// How the hub behaves.
#[derive(Clone, Default)]
struct Script {
    /// The status of an answer to HEAD, with its error code, in place of the truth.
    refuses: Option<(u16, &'static str)>,
    /// How many bytes of the body it sends each time, and what it does then.
    breaks_off: Option<(usize, Then)>,
    /// Whether it knows no ranges.
    rangeless: bool,
    /// What it sends in place of the content.
    instead: Option<Vec<u8>>,
    /// Whether it says what a hub says.
    mute: bool,
    /// Whether the repository has another name now.
    renamed: bool,
    /// Where it sends those who want the bytes.
    elsewhere: Option<String>,
}

/// A request: its first line, `Range` and `Authorization`.
type Asked = (String, Option<String>, Option<String>);

struct Hub {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

fn content() -> Vec<u8> {
    (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

impl Hub {
    fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let shared = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, shared) = (script.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream.unwrap(), &script, &shared));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn gets(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|(line, ..)| line.starts_with("GET")).collect()
    }
}

fn serve(mut stream: &TcpStream, script: &Script, asked: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let found = headers.iter().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.to_owned())
    };
    let range = header("range");
    asked.lock().unwrap().push((first.clone(), range.clone(), header("authorization")));
    let whole = content();
    let mut say = |text: String| drop(stream.write_all(text.as_bytes()));
    if first.starts_with("HEAD") {
        let hash = sha256_bytes(&whole);
        let facts =
            format!("X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {}\r\n", whole.len());
        return match script {
            Script { refuses: Some((status, code)), .. } => {
                say(format!("HTTP/1.1 {status} No\r\nX-Error-Code: {code}\r\nConnection: close\r\n\r\n"));
            }
            Script { mute: true, .. } => {
                say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n".into());
            }
            Script { renamed: true, .. } if !first.contains("/me/renamed/") => {
                let to = first.split(' ').nth(1).unwrap().replace("/me/tiny/", "/me/renamed/");
                say(format!("HTTP/1.1 307 Moved\r\nLocation: {to}\r\nConnection: close\r\n\r\n"));
            }
            // Where the bytes are is another host's matter.
            _ => say(format!(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\n{facts}Connection: close\r\n\r\n"
            )),
        };
    }
    if let Some(elsewhere) = &script.elsewhere {
        return say(format!(
            "HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ));
    }
    let body = script.instead.clone().unwrap_or(whole);
    let from = range.filter(|_| !script.rangeless);
    let from = from.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let (status, extra) = match from {
        Some(from) => ("206 Partial", format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len())),
        None => ("200 OK", String::new()),
    };
    let rest = &body[from.unwrap_or(0)..];
    say(format!("HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len()));
    let (sent, then) = script.breaks_off.unwrap_or((rest.len(), Then::Closes));
    let _ = stream.write_all(&rest[..sent.min(rest.len())]);
    if then == Then::Stalls && sent < rest.len() {
        // Until whoever waits goes away.
        let _ = stream.read(&mut [0]);
    }
}

/// What a name comes to in an environment, and what was said meanwhile.
fn found(name: &str, env: &[(&str, &str)]) -> (Result<Found, String>, Vec<String>) {
    let env: BTreeMap<String, String> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let lookup: Lookup<'_> = &|name| env.get(name).cloned();
    let mut said = Vec::new();
    let result = Name::parse(name).and_then(|name| find(&name, lookup, &mut |words| said.push(words.to_owned())));
    (result, said)
}

fn home() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    (dir, path)
}

#[test]
fn a_file_is_fetched_once_and_then_found_offline() {
    let hub = Hub::start(Script::default());
    let (dir, home) = home();
    fs::write(dir.path().join("token"), "hf_of_the_file\n").unwrap();
    let env = [("HF_HOME", home.as_str()), ("HF_ENDPOINT", hub.url.as_str())];
    let (first, said) = found(NAME, &env);
    let first = first.unwrap();
    assert_eq!(fs::read(&first.path).unwrap(), content());
    assert_eq!(first.source, format!("{NAME}@{COMMIT}"));
    assert_eq!(first.sha256, Some(sha256_bytes(&content())));
    assert!(first.path.ends_with(format!("hub/models--me--tiny/snapshots/{COMMIT}/q4/tiny.gguf")), "{first:?}");
    assert!(said[0].contains("fetching hf://me/tiny/q4/tiny.gguf@main, 0.3 MB"), "{said:?}");
    let asked = hub.asked();
    assert_eq!(asked[0].0, "HEAD /me/tiny/resolve/main/q4/tiny.gguf HTTP/1.1");
    assert_eq!(
        asked[1].0,
        format!("GET /me/tiny/resolve/{COMMIT}/q4/tiny.gguf HTTP/1.1"),
        "what was promised, not what is newest"
    );
    assert!(asked.iter().all(|(_, _, token)| token.as_deref() == Some("Bearer hf_of_the_file")), "{asked:?}");

    // Again: the hub is asked what `main` is, and nothing is fetched. A token of the environment comes first.
    let again = found(NAME, &[env[0], env[1], ("HF_TOKEN", "hf_of_the_environment")]);
    assert_eq!((again.0.as_ref(), again.1.len()), (Ok(&first), 0));
    assert_eq!((hub.gets().len(), hub.asked()[2].2.as_deref()), (1, Some("Bearer hf_of_the_environment")));
    // A commit is not asked about; offline nobody is asked at all; and a hub that is away is no obstacle, and said.
    let asked = hub.asked().len();
    assert_eq!(found(&format!("{NAME}@{COMMIT}"), &env).0.as_ref(), Ok(&first));
    assert_eq!(found(NAME, &[env[0], env[1], ("HF_HUB_OFFLINE", "1")]).0.as_ref(), Ok(&first));
    assert_eq!(hub.asked().len(), asked);
    let (away, said) = found(NAME, &[env[0], ("HF_ENDPOINT", "http://127.0.0.1:1")]);
    assert_eq!(away.as_ref(), Ok(&first));
    assert!(said[0].contains("cannot be reached") && said[0].contains(COMMIT), "{said:?}");
}

#[test]
fn what_is_not_cached_says_what_would_mend_it() {
    let (_dir, home) = home();
    let (offline, _) = found(NAME, &[("HF_HOME", &home), ("HF_HUB_OFFLINE", "true")]);
    assert!(offline.unwrap_err().contains("HF_HUB_OFFLINE is set: unset it once"));
    let (away, _) = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", "http://127.0.0.1:1")]);
    let away = away.unwrap_err();
    assert!(away.contains("http://127.0.0.1:1 cannot be reached") && away.contains("is not in"), "{away}");
    let refused = |status, code, token: &str, phrase: &str| {
        let hub = Hub::start(Script { refuses: Some((status, code)), ..Script::default() });
        let env = [("HF_HOME", home.as_str()), ("HF_ENDPOINT", hub.url.as_str()), ("HF_TOKEN", token)];
        let problem = found(NAME, &env[..if token.is_empty() { 2 } else { 3 }]).0.unwrap_err();
        assert!(problem.contains(phrase), "{phrase:?} is not in: {problem}");
    };
    refused(401, "RepoNotFound", "", "or does not show it without a token: set HF_TOKEN");
    refused(403, "", "hf_x", "does not show me/tiny to whom the token is of");
    refused(403, "GatedRepo", "hf_x", "accept them at http://127.0.0.1");
    refused(404, "EntryNotFound", "", "has no file q4/tiny.gguf in me/tiny at main");
    refused(404, "RevisionNotFound", "", "has no revision main of me/tiny");
    refused(500, "", "", "answers with status 500");
    let mute = Hub::start(Script { mute: true, ..Script::default() });
    let problem = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &mute.url)]).0.unwrap_err();
    assert!(problem.contains("is http://127.0.0.1") && problem.contains("a hub (HF_ENDPOINT)?"), "{problem}");
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let (dir, home) = home();
    // Each connection brings 100,000 bytes: three of them bring all.
    let hub = Hub::start(Script { breaks_off: Some((100_000, Then::Closes)), ..Script::default() });
    let (result, _) = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &hub.url)]);
    assert_eq!(fs::read(result.unwrap().path).unwrap(), content());
    let ranges: Vec<Option<String>> = hub.gets().into_iter().map(|(_, range, _)| range).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=200000-".into())]);

    // One that brings nothing is given up, and what came stays for the next run, which goes on from there.
    fs::remove_dir_all(dir.path().join("hub")).unwrap();
    let blobs = dir.path().join("hub/models--me--tiny/blobs");
    let part = blobs.join(format!("{}.incomplete", sha256_bytes(&content())));
    fs::create_dir_all(&blobs).unwrap();
    fs::write(&part, &content()[..250_000]).unwrap();
    let dead = Hub::start(Script { breaks_off: Some((0, Then::Closes)), ..Script::default() });
    let problem = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &dead.url)]).0.unwrap_err();
    assert!(problem.contains("250000 of 300000 bytes came") && problem.contains("run again to go on"), "{problem}");
    let hub = Hub::start(Script::default());
    let (result, _) = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &hub.url)]);
    assert_eq!(fs::read(result.unwrap().path).unwrap(), content());
    assert_eq!(hub.gets()[0].1.as_deref(), Some("bytes=250000-"));
    assert!(!part.exists());

    // A server that knows no ranges sends all of it again, and nothing is there twice.
    fs::remove_dir_all(dir.path().join("hub")).unwrap();
    fs::create_dir_all(&blobs).unwrap();
    fs::write(&part, &content()[..1000]).unwrap();
    let hub = Hub::start(Script { rangeless: true, ..Script::default() });
    let (result, _) = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &hub.url)]);
    assert_eq!(fs::read(result.unwrap().path).unwrap(), content());
}

#[test]
fn a_download_that_stalls_goes_on_and_is_given_up_when_nothing_comes() {
    let (_dir, home) = home();
    let stall = |after| Hub::start(Script { breaks_off: Some((after, Then::Stalls)), ..Script::default() });
    let patience = |hub: &Hub, seconds: &str| {
        let env = [("HF_HOME", home.as_str()), ("HF_ENDPOINT", &hub.url), ("HF_HUB_DOWNLOAD_TIMEOUT", seconds)];
        found(NAME, &env).0
    };
    let problem = patience(&stall(0), "0.05").unwrap_err();
    assert!(problem.contains("0 of 300000 bytes came, then: nothing came for 0.05 s; run again"), "{problem}");
    let hub = stall(100_000);
    assert_eq!(fs::read(patience(&hub, "0.5").unwrap().path).unwrap(), content());
    let ranges: Vec<Option<String>> = hub.gets().into_iter().map(|(_, range, _)| range).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=200000-".into())]);
    for seconds in ["soon", "0", "-1", "inf"] {
        let problem = patience(&hub, seconds).unwrap_err();
        assert!(problem.contains("HF_HUB_DOWNLOAD_TIMEOUT") && problem.contains(seconds), "{problem}");
    }
}

#[test]
fn what_is_not_what_was_announced_is_refused_and_removed() {
    let refused = |instead: Vec<u8>, phrase: &str| {
        let (dir, home) = home();
        let hub = Hub::start(Script { instead: Some(instead), ..Script::default() });
        let problem = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &hub.url)]).0.unwrap_err();
        assert!(problem.contains(phrase), "{phrase:?} is not in: {problem}");
        let left = fs::read_dir(dir.path().join("hub/models--me--tiny/blobs")).unwrap();
        let left: u64 = left.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(left, 0, "nothing wrong is left to go on with");
    };
    let mut other = content();
    other[7] ^= 1;
    refused(other, "was announced; it was removed");
    refused([content(), vec![0]].concat(), "more than the 300000 bytes came");

    // A part of something else, left from before, is found out at the end; the next run begins anew.
    let (dir, home) = home();
    let blobs = dir.path().join("hub/models--me--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.incomplete", sha256_bytes(&content()))), vec![9; 1000]).unwrap();
    let hub = Hub::start(Script::default());
    let env = [("HF_HOME", home.as_str()), ("HF_ENDPOINT", hub.url.as_str())];
    assert!(found(NAME, &env).0.unwrap_err().contains("was announced"));
    assert_eq!(fs::read(found(NAME, &env).0.unwrap().path).unwrap(), content());
}

#[test]
fn a_renamed_repository_is_followed_within_the_hub() {
    let (_dir, home) = home();
    let hub = Hub::start(Script { renamed: true, ..Script::default() });
    let (result, _) = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &hub.url), ("HF_TOKEN", "hf_x")]);
    assert_eq!(fs::read(result.unwrap().path).unwrap(), content());
    assert_eq!(hub.asked()[1].0, "HEAD /me/renamed/resolve/main/q4/tiny.gguf HTTP/1.1");
    let (get, _, token) = &hub.gets()[0];
    assert_eq!(get, &format!("GET /me/renamed/resolve/{COMMIT}/q4/tiny.gguf HTTP/1.1"));
    assert_eq!(token.as_deref(), Some("Bearer hf_x"), "a private repository may have been renamed");
}

#[test]
fn whoever_has_the_bytes_is_not_shown_the_token() {
    let (_dir, home) = home();
    let bytes = Hub::start(Script::default());
    let hub = Hub::start(Script { elsewhere: Some(format!("{}/signed?by=hub", bytes.url)), ..Script::default() });
    let (result, _) = found(NAME, &[("HF_HOME", &home), ("HF_ENDPOINT", &hub.url), ("HF_TOKEN", "hf_x")]);
    assert_eq!(fs::read(result.unwrap().path).unwrap(), content());
    assert_eq!(hub.gets()[0].2.as_deref(), Some("Bearer hf_x"));
    assert_eq!(bytes.asked(), [("GET /signed?by=hub HTTP/1.1".to_owned(), None, None)]);
}

/// A store with one model, as Ollama keeps it.
fn store(layers: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests/registry.ollama.ai/library/tiny-coder");
    fs::create_dir_all(&manifests).unwrap();
    fs::create_dir_all(dir.path().join("blobs")).unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"sha256:00"}},"layers":[{layers}
            {{"mediaType":"application/vnd.ollama.image.params","digest":"sha256:22"}}]}}"#
    );
    fs::write(manifests.join("q4"), manifest).unwrap();
    dir
}

fn layer(kind: &str, digest: &str) -> String {
    format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"{digest}","size":3}},"#)
}

#[test]
fn an_ollama_serves_a_blob_of_its_store() {
    let hash = sha256_bytes(b"gguf");
    let dir = store(&(layer("license", "sha256:11") + &layer("model", &format!("sha256:{hash}"))));
    let blob = dir.path().join(format!("blobs/sha256-{hash}"));
    let env = [("OLLAMA_MODELS", dir.path().to_str().unwrap())];
    let look = |name: &str| found(name, &env).0;
    assert!(look("ollama://tiny-coder:q4").unwrap_err().contains("which is not there: `ollama pull` it again"));
    fs::write(&blob, "gguf").unwrap();
    let expected = Found { path: blob, source: "ollama://tiny-coder:q4".into(), sha256: Some(hash) };
    assert_eq!(look("ollama://tiny-coder:q4"), Ok(expected));
    let missing = look("ollama://tiny-coder:q8").unwrap_err();
    assert!(missing.contains("`ollama pull tiny-coder:q8`") && missing.contains("OLLAMA_MODELS"), "{missing}");
    // By itself it is in the home.
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join(".ollama")).unwrap();
    std::os::unix::fs::symlink(dir.path(), home.path().join(".ollama/models")).unwrap();
    assert!(found("ollama://tiny-coder:q4", &[("HOME", home.path().to_str().unwrap())]).0.is_ok());
}

#[test]
fn a_manifest_that_is_no_one_file_is_refused() {
    let refused = |layers: &str, phrase: &str| {
        let dir = store(layers);
        let problem =
            found("ollama://tiny-coder:q4", &[("OLLAMA_MODELS", dir.path().to_str().unwrap())]).0.unwrap_err();
        assert!(problem.contains(phrase), "{phrase:?} is not in: {problem}");
    };
    let model = layer("model", &format!("sha256:{}", "a".repeat(64)));
    refused("", "made of 0 GGUF files");
    refused(&model.repeat(2), "made of 2 GGUF files");
    refused(&(model + &layer("adapter", "sha256:33")), "a model with an adapter");
    refused(&layer("model", "sha256:../../etc/passwd"), "is no digest");
    refused(r#"{"mediaType":3},"#, "cannot read");
}

#[test]
fn a_home_is_needed() {
    assert!(found(NAME, &[]).0.unwrap_err().contains("set HF_HOME"));
}
