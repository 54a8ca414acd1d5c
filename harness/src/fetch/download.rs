//! A file over HTTP that goes on where it broke off, and is believed when its hash is right.

use qa_model::hash;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use ureq::Agent;

/// How often a download that broke off goes on; a try that brings nothing counts, one that brings something does not.
const TRIES: u32 = 4;
/// How often the progress is said.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// What is fetched.
pub(super) struct Source<'a> {
    pub agent: &'a Agent,
    /// How long the agent waits for a connection that brings nothing.
    pub patience: Duration,
    pub url: String,
    /// For the host of the address; one that it sends on to is not shown it.
    pub authorization: Option<String>,
    /// How long it is.
    pub bytes: u64,
    /// The hash of its content, where it is known.
    pub sha256: Option<&'a str>,
}

/// Fetches a file to `path`, through `path.incomplete`, which a later try goes on with.
///
/// # Errors
/// A sentence. What came and is wrong is removed, what is only not whole stays.
pub(super) fn into(source: &Source<'_>, path: &Path, say: &mut dyn FnMut(&str)) -> Result<(), String> {
    let part = path.with_file_name(format!("{}.incomplete", path.file_name().unwrap_or_default().to_string_lossy()));
    let wrote = |e: io::Error| format!("cannot write {}: {e}", part.display());
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(wrote)?;
    let mut file = OpenOptions::new().append(true).create(true).open(&part).map_err(wrote)?;
    let (mut tries, mut said) = (0, Instant::now());
    loop {
        let before = length(&file).map_err(wrote)?;
        if before > source.bytes {
            file.set_len(0).map_err(wrote)?;
            continue;
        }
        if before == source.bytes {
            break;
        }
        let why = match some(source, &mut file, before, &mut said, say) {
            Ok(()) => continue,
            Err(Broken::Final(why)) => return Err(why),
            Err(Broken::Off(why)) => why,
        };
        let now = length(&file).map_err(wrote)?;
        tries = if now > before { 0 } else { tries + 1 };
        if tries == TRIES {
            return Err(format!("{now} of {} bytes came, then: {why}; run again to go on from there", source.bytes));
        }
        std::thread::sleep(Duration::from_millis(250) * tries);
    }
    file.sync_all().map_err(wrote)?;
    if let Some(expected) = source.sha256 {
        let came = hash::sha256_file(&part).map_err(|e| format!("cannot read {}: {e}", part.display()))?;
        if came != expected {
            let _ = fs::remove_file(&part);
            return Err(format!("what came has the sha256 {came}, and {expected} was announced; it was removed"));
        }
    }
    fs::rename(&part, path).map_err(wrote)
}

/// Why a try ended.
enum Broken {
    /// Another may go on.
    Off(String),
    /// None would help.
    Final(String),
}

/// Fetches what is missing from `have` on, or as much of it as comes.
fn some(
    source: &Source<'_>,
    file: &mut File,
    have: u64,
    said: &mut Instant,
    say: &mut dyn FnMut(&str),
) -> Result<(), Broken> {
    let wrote = |e: io::Error| Broken::Final(format!("cannot write: {e}"));
    let mut request = source.agent.get(&source.url).header("Accept-Encoding", "identity");
    if let Some(authorization) = &source.authorization {
        request = request.header("Authorization", authorization);
    }
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let answer = request.call().map_err(|e| stopped(&e, source.patience))?;
    match answer.status().as_u16() {
        206 => {
            let range = answer.headers().get("content-range").and_then(|range| range.to_str().ok()).unwrap_or_default();
            if !range.starts_with(&format!("bytes {have}-")) {
                return Err(Broken::Final(format!("asked for the bytes from {have} on, it sent `{range}`")));
            }
        }
        // The whole again: a server that knows no ranges.
        200 => file.set_len(0).map_err(wrote)?,
        status @ (429 | 500..=599) => return Err(Broken::Off(format!("status {status}"))),
        status => return Err(Broken::Final(format!("{} answers with status {status}", source.url))),
    }
    let mut body = answer.into_body().into_reader();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = body.read(&mut buffer).map_err(|e| stopped(&e.into(), source.patience))?;
        if count == 0 {
            return if length(file).map_err(wrote)? < source.bytes {
                Err(Broken::Off("the connection ended".into()))
            } else {
                Ok(())
            };
        }
        file.write_all(&buffer[..count]).map_err(wrote)?;
        let now = length(file).map_err(wrote)?;
        if now > source.bytes {
            let _ = file.set_len(0);
            return Err(Broken::Final(format!("more than the {} bytes came that were announced", source.bytes)));
        }
        if said.elapsed() > SAID_EVERY {
            *said = Instant::now();
            say(&format!("{:.0} % of {:.1} MB", 100.0 * now as f64 / source.bytes as f64, source.bytes as f64 / 1e6));
        }
    }
}

/// Why nothing more comes.
fn stopped(error: &ureq::Error, patience: Duration) -> Broken {
    Broken::Off(match error {
        ureq::Error::Timeout(ureq::Timeout::PerRead) => format!("nothing came for {} s", patience.as_secs_f64()),
        error => error.to_string(),
    })
}

fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}
