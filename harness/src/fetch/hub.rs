//! The Hugging Face hub: files in the cache that its own tools keep, fetched where they are not there yet.
//!
//! The layout is that of the Python package `huggingface_hub`: `models--OWNER--REPO/` with `blobs/HASH`, `snapshots/COMMIT/FILE`,
//! which leads to a blob, and `refs/REVISION`, which holds a commit. What either fetched the other finds.

use super::download::{self, Source};
use super::{Found, HubFile, Lookup};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Response};

/// Where the hub is, unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// How long a connection may bring nothing: as long as the hub's own tools wait, unless `HF_HUB_DOWNLOAD_TIMEOUT` says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a question is sent on within the hub, as for a repository that was renamed.
const MOST_MOVES: u32 = 5;

/// A hub and the cache of its files.
#[derive(Debug)]
pub struct Hub {
    endpoint: String,
    cache: PathBuf,
    token: Option<String>,
    offline: bool,
    /// How long a connection may bring nothing.
    patience: Duration,
    agent: Agent,
}

/// What the hub says of a file.
struct About {
    /// The repository's name now, where it has another one.
    repo: String,
    commit: String,
    etag: String,
    bytes: u64,
}

/// Why the hub says nothing.
enum Silent {
    /// It cannot be reached.
    Away(String),
    /// It refuses.
    Refused(String),
}

impl Hub {
    /// The hub that the environment names: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME` or `XDG_CACHE_HOME` for the cache,
    /// `HF_TOKEN` or the file of `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`, and `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
    ///
    /// # Errors
    /// Where there is no folder for the cache, or no such time.
    pub fn of(env: Lookup<'_>) -> Result<Self, String> {
        let path = |name: &str| env(name).map(PathBuf::from);
        let home = path("HF_HOME")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(path("HOME")?.join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| Some(home.as_ref()?.join("hub")));
        let cache = cache.ok_or("no folder for files of the hub: set HF_HOME")?;
        let file = path("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")));
        let token = env("HF_TOKEN").or_else(|| fs::read_to_string(file?).ok());
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let offline = env("HF_HUB_OFFLINE")
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"));
        let patience = env("HF_HUB_DOWNLOAD_TIMEOUT").map_or(Ok(PATIENCE), |given| seconds(&given))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            // Of each read: a file may take hours, and a connection that is open and silent would take for ever.
            .timeout_per_read(Some(patience))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build()
            .into();
        let endpoint = env("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').to_owned();
        Ok(Self { endpoint, cache, token, offline, patience, agent })
    }

    /// A file of the hub, fetched if it is not in the cache.
    ///
    /// # Errors
    /// A sentence about what is not there, not allowed or broken, and what would mend it.
    pub fn file(&self, name: &HubFile, say: &mut dyn FnMut(&str)) -> Result<Found, String> {
        let folder = self.cache.join(format!("models--{}", name.repo.replace('/', "--")));
        let cached = Self::cached(&folder, name);
        // A commit is what it is: nobody need be asked about it.
        if let Some(found) = cached.clone().filter(|_| self.offline || is_commit(&name.revision)) {
            return Ok(found);
        }
        if self.offline {
            return Err(format!(
                "{name} is not in {} and HF_HUB_OFFLINE is set: unset it once, to fetch the file",
                self.cache.display()
            ));
        }
        let about = match self.about(name) {
            Ok(about) => about,
            Err(Silent::Refused(why)) => return Err(why),
            Err(Silent::Away(why)) => {
                let found = cached.ok_or_else(|| format!("{why}; {name} is not in {}", self.cache.display()))?;
                say(&format!("{why}: taking {} from {}", found.source, self.cache.display()));
                return Ok(found);
            }
        };
        let snapshot = folder.join("snapshots").join(&about.commit).join(&name.file);
        if !snapshot.is_file() {
            self.fetch(&folder, name, &about, &snapshot, say)?;
        }
        let refs = folder.join("refs").join(&name.revision);
        if !is_commit(&name.revision) && fs::read_to_string(&refs).ok().as_deref() != Some(&about.commit) {
            put(&refs, |path| fs::write(path, &about.commit))?;
        }
        Ok(found(name, &about.commit, snapshot))
    }

    /// A file that is in the cache already.
    fn cached(folder: &Path, name: &HubFile) -> Option<Found> {
        let commit = if is_commit(&name.revision) {
            name.revision.clone()
        } else {
            fs::read_to_string(folder.join("refs").join(&name.revision)).ok()?.trim().to_owned()
        };
        let snapshot = folder.join("snapshots").join(&commit).join(&name.file);
        (is_commit(&commit) && snapshot.is_file()).then(|| found(name, &commit, snapshot))
    }

    /// Fetches a file into its blob, and leads its snapshot there.
    fn fetch(
        &self,
        folder: &Path,
        name: &HubFile,
        about: &About,
        snapshot: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let within = folder.file_name().unwrap_or_default();
        let lock = self.cache.join(".locks").join(within).join(format!("{}.lock", about.etag));
        // Another process that fetches the same is waited for, the hub's own tools included.
        let _locked = put(&lock, |path| {
            let lock = fs::File::create(path)?;
            lock.lock()?;
            Ok(lock)
        })?;
        let blob = folder.join("blobs").join(&about.etag);
        if !blob.is_file() {
            let megabytes = about.bytes as f64 / 1e6;
            say(&format!("fetching {name}, {megabytes:.1} MB, into {}", folder.display()));
            let source = Source {
                agent: &self.agent,
                patience: self.patience,
                url: self.address(&HubFile { repo: about.repo.clone(), ..name.clone() }, &about.commit),
                authorization: self.authorization(),
                bytes: about.bytes,
                sha256: Some(about.etag.as_str()).filter(|etag| etag.len() == 64),
            };
            download::into(&source, &blob, say).map_err(|why| format!("{name}: {why}"))?;
        }
        let up = "../".repeat(2 + name.file.matches('/').count());
        put(snapshot, |path| {
            // A link that leads nowhere is left of a blob that was removed.
            let _ = fs::remove_file(path);
            std::os::unix::fs::symlink(format!("{up}blobs/{}", about.etag), path)
        })
    }

    /// Asks the hub about a file.
    fn about(&self, name: &HubFile) -> Result<About, Silent> {
        let refused = |why: String| Err(Silent::Refused(why));
        let mut url = self.address(name, &name.revision);
        for _ in 0..MOST_MOVES {
            let mut request = self.agent.head(&url).header("Accept-Encoding", "identity");
            if let Some(authorization) = self.authorization() {
                request = request.header("Authorization", authorization);
            }
            let answer = request.config().max_redirects(0).max_redirects_will_error(false).build().call();
            let answer = answer.map_err(|e| Silent::Away(format!("{} cannot be reached ({e})", self.endpoint)))?;
            let headers = answer.headers();
            let status = answer.status().as_u16();
            // Files are kept elsewhere; what is said of one comes with the word where.
            let moved = header(headers, "location").filter(|location| location.starts_with('/'));
            match (status, moved) {
                (300..=399, Some(location)) => url = format!("{}{location}", self.endpoint),
                (200..=399, _) => {
                    let within = url.strip_prefix(&self.endpoint).unwrap_or_default().trim_start_matches('/');
                    let repo = within.split_once("/resolve/").map_or(name.repo.as_str(), |(repo, _)| repo);
                    return about(repo, headers).map_or_else(|| refused(self.no_hub(&url)), Ok);
                }
                (500..=599, _) => return Err(Silent::Away(format!("{} answers with status {status}", self.endpoint))),
                _ => return refused(self.refusal(name, &answer)),
            }
        }
        refused(format!("{} sends {name} on and on", self.endpoint))
    }

    fn no_hub(&self, url: &str) -> String {
        format!(
            "{url} does not say which commit, hash and size its file has: is {} a hub (HF_ENDPOINT)?",
            self.endpoint
        )
    }

    fn refusal<B>(&self, name: &HubFile, answer: &Response<B>) -> String {
        let status = answer.status().as_u16();
        let code = header(answer.headers(), "x-error-code").unwrap_or_default();
        match (status, code.as_str(), &self.token) {
            (_, "GatedRepo", _) => format!(
                "{} is open to those who accepted its terms: accept them at {}/{}, and set HF_TOKEN to a token of that account",
                name.repo, self.endpoint, name.repo
            ),
            // The hub does not tell what is not there from what is not shown.
            (401 | 403, _, None) => format!(
                "{} has no repository {}, or does not show it without a token: set HF_TOKEN",
                self.endpoint, name.repo
            ),
            (401 | 403, _, Some(_)) => {
                format!("{} does not show {} to whom the token is of (HF_TOKEN, or its file)", self.endpoint, name.repo)
            }
            (404, "EntryNotFound", _) => {
                format!("{} has no file {} in {} at {}", self.endpoint, name.file, name.repo, name.revision)
            }
            (404, "RevisionNotFound", _) => {
                format!("{} has no revision {} of {}", self.endpoint, name.revision, name.repo)
            }
            (404, ..) => format!("{} has no {name}", self.endpoint),
            _ => format!("{} answers to a question about {name} with status {status} {code}", self.endpoint),
        }
    }

    fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    fn address(&self, name: &HubFile, revision: &str) -> String {
        let file = name.file.split('/').map(escaped).collect::<Vec<_>>().join("/");
        format!("{}/{}/resolve/{}/{file}", self.endpoint, name.repo, escaped(revision))
    }
}

fn about(repo: &str, headers: &HeaderMap) -> Option<About> {
    let commit = header(headers, "x-repo-commit").filter(|commit| is_commit(commit))?;
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
    // It becomes a file's name.
    let hash = !etag.is_empty() && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes = header(headers, "x-linked-size").or_else(|| header(headers, "content-length"))?.parse().ok()?;
    hash.then(|| About { repo: repo.to_owned(), commit, etag, bytes })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn found(name: &HubFile, commit: &str, path: PathBuf) -> Found {
    let source = HubFile { revision: commit.to_owned(), ..name.clone() }.to_string();
    // The blob that it leads to is called after its hash, where it has one of its content.
    let blob = fs::canonicalize(&path).ok().and_then(|blob| Some(blob.file_name()?.to_str()?.to_owned()));
    let sha256 = blob.filter(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Found { path, source, sha256 }
}

/// A time of the environment.
fn seconds(given: &str) -> Result<Duration, String> {
    let time = given.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero())
        .ok_or_else(|| format!("HF_HUB_DOWNLOAD_TIMEOUT is `{given}`, and must be a number of seconds above 0"))
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A segment of an address.
fn escaped(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    segment.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Makes the folder of a path, and then something there.
fn put<T>(path: &Path, make: impl FnOnce(&Path) -> std::io::Result<T>) -> Result<T, String> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| make(path)).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
