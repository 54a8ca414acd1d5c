//! Ollama's own store: a manifest for each model, and a blob for each of its layers.

use super::{Found, Lookup, OllamaTag};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The layer that is a GGUF file.
const MODEL: &str = "application/vnd.ollama.image.model";
/// A layer that changes what the model computes.
const ADAPTER: &str = "application/vnd.ollama.image.adapter";
/// Where the service of Linux distributions keeps its models.
const SERVICE: &str = "/usr/share/ollama/.ollama/models";

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
}

/// The file that a tag is made of.
///
/// # Errors
/// A sentence about what is missing.
pub(super) fn find(tag: &OllamaTag, env: Lookup<'_>) -> Result<Found, String> {
    let stores = stores(env);
    let within = Path::new("manifests").join(&tag.model).join(&tag.tag);
    let Some(store) = stores.iter().find(|store| store.join(&within).is_file()) else {
        let looked: Vec<String> = stores.iter().map(|store| store.display().to_string()).collect();
        let name = tag.to_string();
        return Err(format!(
            "no Ollama here has {name}: `ollama pull {}`, or name its store in OLLAMA_MODELS; looked in {}",
            name.trim_start_matches("ollama://"),
            looked.join(" and ")
        ));
    };
    let manifest = store.join(&within);
    let unreadable = |e: &dyn std::fmt::Display| format!("cannot read {}: {e}", manifest.display());
    let text = fs::read_to_string(&manifest).map_err(|e| unreadable(&e))?;
    let Manifest { layers } = serde_json::from_str(&text).map_err(|e| unreadable(&e))?;
    if layers.iter().any(|layer| layer.media_type == ADAPTER) {
        return Err(format!("{tag} is a model with an adapter, so no one file is what Ollama computes"));
    }
    let models: Vec<&Layer> = layers.iter().filter(|layer| layer.media_type == MODEL).collect();
    let [model] = models[..] else {
        return Err(format!(
            "{tag} is made of {} GGUF files, and one is expected ({})",
            models.len(),
            manifest.display()
        ));
    };
    let hash = model.digest.strip_prefix("sha256:").filter(|hash| hash.len() == 64);
    let hash = hash.filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let hash = hash.ok_or_else(|| unreadable(&format!("`{}` is no digest", model.digest)))?.to_ascii_lowercase();
    let path = store.join("blobs").join(format!("sha256-{hash}"));
    if !path.is_file() {
        return Err(format!("{tag} is made of {}, which is not there: `ollama pull` it again", path.display()));
    }
    Ok(Found { path, source: tag.to_string(), sha256: Some(hash) })
}

/// Folders that may be a store: the one that is named, or those that Ollama takes by itself.
fn stores(env: Lookup<'_>) -> Vec<PathBuf> {
    if let Some(named) = env("OLLAMA_MODELS") {
        return vec![PathBuf::from(named)];
    }
    let home = env("HOME").map(|home| Path::new(&home).join(".ollama/models"));
    home.into_iter().chain([PathBuf::from(SERVICE)]).collect()
}
