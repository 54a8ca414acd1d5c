//! A single pass with everything that it left behind, for the self-test.

use super::{Choice, Decoder};
use crate::error::Result;
use crate::gpu::{read_at, write_at};
use crate::layout::{NO_TOKEN, Start, word};

/// What a pass left in the buffers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Taps {
    /// The residual stream after the last block, `[hidden]`.
    pub residual: Vec<f32>,
    /// Queries, turned and scaled, keys before rotation, and values, `[query + 2 kv]`. Of the unfused kernels only.
    pub qkv: Vec<f32>,
    /// The gated half of the last feed-forward, `[intermediate]`.
    pub inner: Vec<f32>,
    /// `[vocab]`.
    pub logits: Vec<f32>,
    /// What was delivered: an id, or `None` where no logit is a number.
    pub token: Option<u32>,
    /// Where the sequence stands afterwards: position and tokens delivered.
    pub moved: (u32, u32),
}

impl Decoder {
    /// One pass of one token at a position, over the cache as it is.
    pub(crate) fn tap(&mut self, token: u32, position: u32) -> Result<Taps> {
        self.produced.clear();
        self.start(Start {
            position,
            token,
            produced: 0,
            forced: 0,
            keep_logits: 1,
            limit: 1,
            stopped: 0,
            stop: [NO_TOKEN; 4],
        })?;
        if self.switches.persistent { self.resident(Choice::Scored) } else { self.token(Choice::Scored) }?;
        let words = self.finish()?;
        let config = &self.config;
        Ok(Taps {
            residual: read_at(self.buffers.residual, config.hidden)?,
            qkv: read_at(self.buffers.qkv, config.query_width() + 2 * config.kv_width())?,
            inner: read_at(self.buffers.inner, config.intermediate)?,
            logits: self.logits.read(0, config.vocab)?,
            token: self.produced.get(0).checked_sub(1),
            moved: (words[word::POSITION], words[word::PRODUCED]),
        })
    }

    /// Bytes of the cached keys, and of the cached values.
    pub(crate) fn cache_bytes(&self) -> usize {
        let config = &self.config;
        config.layers * config.kv_heads * self.shape.kv_cache.head_bytes(config.head_dim, self.context)
    }

    /// The cached keys and values as they are.
    pub(crate) fn cached(&self) -> Result<[Vec<u8>; 2]> {
        let bytes = self.cache_bytes();
        Ok([read_at(self.buffers.keys, bytes)?, read_at(self.buffers.values, bytes)?])
    }

    /// Puts keys and values into the cache.
    pub(crate) fn set_cached(&self, [keys, values]: &[Vec<u8>; 2]) -> Result<()> {
        write_at(self.buffers.keys, keys)?;
        write_at(self.buffers.values, values)
    }

    /// Makes the resident grid wait for blocks that do not exist, or for values that never come.
    pub(crate) fn break_barrier(&self) -> Result<()> {
        self.state.write(word::SKEW * size_of::<u32>(), &[1_u32 << 20])?;
        self.state.write(word::EPOCH * size_of::<u32>(), &[1_u32 << 24])
    }
}
