//! The harness's end of the protocol, whatever is at the other end.
//!
//! A [`wire::Wire`] carries lines to a worker and back; [`conversation::Conversation`] speaks the protocol over it,
//! believes nothing and ends the worker at the first fault. Processes and simulations differ in their wire alone.

pub(super) mod child;
pub(super) mod conversation;
pub(super) mod lines;
mod plausible;
pub(super) mod quote;
pub(super) mod tail;
pub(super) mod wire;
