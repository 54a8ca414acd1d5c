//! Names of models, as they are written.

use std::fmt;

/// A model's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `hf://owner/repo/file.gguf@revision`.
    Hub(HubFile),
    /// `ollama://name:tag`.
    Ollama(OllamaTag),
}

/// A file of a repository on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/repo`.
    pub repo: String,
    /// Path within it.
    pub file: String,
    /// Branch, tag or commit; `main` unless said.
    pub revision: String,
}

/// A model in the store of an Ollama.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OllamaTag {
    /// Registry, namespace and model, such as `registry.ollama.ai/library/qwen2.5-coder`.
    pub model: String,
    /// `latest` unless said.
    pub tag: String,
}

const HUB: &str = "hf://";
const OLLAMA: &str = "ollama://";

/// Whether a model's `path` is a name and no path.
pub fn is_name(path: &str) -> bool {
    path.starts_with(HUB) || path.starts_with(OLLAMA)
}

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it, with an example of one that is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix(HUB) {
            let (path, revision) = rest.rsplit_once('@').unwrap_or((rest, "main"));
            let parts: Vec<&str> = path.splitn(3, '/').collect();
            if let [owner, repo, file] = parts[..]
                && [owner, repo].into_iter().chain(file.split('/')).chain(revision.split('/')).all(good)
            {
                let (repo, file) = (format!("{owner}/{repo}"), file.to_owned());
                return Ok(Self::Hub(HubFile { repo, file, revision: revision.to_owned() }));
            }
            return Err(format!("`{text}` is not `hf://owner/repo/file.gguf`, with `@revision` after it or without"));
        }
        let rest = text.strip_prefix(OLLAMA).unwrap_or(text);
        let (model, tag) = match rest.rsplit_once(':') {
            Some((model, tag)) if !tag.contains('/') => (model, tag),
            _ => (rest, "latest"),
        };
        // A port belongs to its registry.
        let parts: Vec<&str> = model.split('/').collect();
        let model = match parts[..] {
            [_] => format!("registry.ollama.ai/library/{model}"),
            [_, _] => format!("registry.ollama.ai/{model}"),
            _ => model.to_owned(),
        };
        if parts.len() > 3 || !model.split('/').all(|part| part.split(':').all(good)) || !good(tag) {
            return Err(format!("`{text}` is not `ollama://name:tag`, as `ollama list` shows it"));
        }
        Ok(Self::Ollama(OllamaTag { model, tag: tag.to_owned() }))
    }
}

/// A part that leads nowhere else when it is part of a path.
fn good(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && !part.contains(['\\', ':', '@', '?', '#', '%'])
        && !part.contains(char::is_control)
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HUB}{}/{}@{}", self.repo, self.file, self.revision)
    }
}

impl fmt::Display for OllamaTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{OLLAMA}{}:{}",
            self.model.trim_start_matches("registry.ollama.ai/").trim_start_matches("library/"),
            self.tag
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let hub = |text: &str| match Name::parse(text) {
            Ok(Name::Hub(HubFile { repo, file, revision })) => (repo, file, revision),
            other => panic!("{text}: {other:?}"),
        };
        let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(hub("hf://me/tiny-GGUF/tiny.gguf"), owned("me/tiny-GGUF", "tiny.gguf", "main"));
        assert_eq!(hub("hf://me/tiny/q4/a b.gguf@v1.0"), owned("me/tiny", "q4/a b.gguf", "v1.0"));
        assert_eq!(hub("hf://me/tiny/a.gguf@refs/pr/3"), owned("me/tiny", "a.gguf", "refs/pr/3"));
        let ollama = |text: &str| match Name::parse(text) {
            Ok(Name::Ollama(OllamaTag { model, tag })) => (model, tag),
            other => panic!("{text}: {other:?}"),
        };
        let owned = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(ollama("ollama://qwen2.5-coder:0.5b"), owned("registry.ollama.ai/library/qwen2.5-coder", "0.5b"));
        assert_eq!(ollama("ollama://me/mine"), owned("registry.ollama.ai/me/mine", "latest"));
        assert_eq!(ollama("ollama://localhost:5000/me/mine"), owned("localhost:5000/me/mine", "latest"));
        assert!(is_name("hf://x") && is_name("ollama://x") && !is_name("models/hf.gguf") && !is_name(""));
        for text in ["ollama://a:b", "ollama://me/a:b"] {
            let Ok(Name::Ollama(tag)) = Name::parse(text) else { panic!("{text}") };
            assert_eq!(tag.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_an_example() {
        for text in [
            "hf://",
            "hf://me/tiny",
            "hf://me/tiny/",
            "hf://me/../x/y.gguf",
            "hf://me/tiny/../../etc",
            "hf://a/b/c@",
            "hf://a/b/c@../x",
        ] {
            let problem = Name::parse(text).unwrap_err();
            assert!(problem.contains("hf://owner/repo/file.gguf"), "{problem}");
        }
        for text in ["ollama://", "ollama://a:", "ollama://../x", "ollama://a/b/c/d", "ollama://a/../../b:c"] {
            let problem = Name::parse(text).unwrap_err();
            assert!(problem.contains("ollama://name:tag"), "{problem}");
        }
    }
}
