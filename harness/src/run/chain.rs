//! The hash chain over `samples.jsonl`: each line ends with the SHA-256 of the link before it and of the line's own bytes.
//!
//! ```text
//! link[0] = SHA-256(environment.json), which itself holds the hash of spec.yaml
//! link[n] = SHA-256(link[n-1] in hexadecimal, then record n as it was written, without its link)
//! line[n] = record n with "chain": link[n] as its last member
//! ```
//!
//! A line that is changed, taken out, doubled or moved breaks every link after it, and a chain begun under one environment
//! does not fit another. It does not stop somebody who computes all links anew; a signature over the last one does.

use sha2::{Digest, Sha256};
use std::fmt;

/// What stands between a record and its link.
const MEMBER: &[u8] = b",\"chain\":\"";
/// What stands after a link.
const END: &[u8] = b"\"}\n";
/// A link's length as text.
const DIGITS: usize = 64;

/// The state of a chain after some record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link([u8; 32]);

impl Link {
    /// The link before the first record.
    pub fn first(environment_json: &[u8]) -> Self {
        Self(Sha256::digest(environment_json).into())
    }

    /// The link after a record: one JSON object without white space at its ends, in pieces that follow each other.
    fn next(&self, record: &[&[u8]]) -> Self {
        let own = Sha256::new().chain_update(self.to_string());
        Self(record.iter().fold(own, Digest::chain_update).finalize().into())
    }

    /// A record as a line of `samples.jsonl`, and the link after it.
    pub fn seal(&self, mut record: Vec<u8>) -> (Vec<u8>, Self) {
        let next = self.next(&[&record]);
        // The closing brace moves behind the link.
        record.pop();
        record.extend_from_slice(MEMBER);
        record.extend_from_slice(next.to_string().as_bytes());
        record.extend_from_slice(END);
        (record, next)
    }

    /// The link after the record in a line, newline included.
    ///
    /// # Errors
    /// What is wrong with the line's link, for the end of a sentence.
    pub fn follow(&self, line: &[u8]) -> Result<Self, &'static str> {
        let at =
            line.len().checked_sub(MEMBER.len() + DIGITS + END.len()).ok_or("it has no link to the line before")?;
        let (record, rest) = line.split_at(at);
        if !(rest.starts_with(MEMBER) && rest.ends_with(END)) {
            return Err("it has no link to the line before");
        }
        let next = self.next(&[record, b"}"]);
        if next.to_string().as_bytes() != &rest[MEMBER.len()..MEMBER.len() + DIGITS] {
            return Err("its hash does not follow from the line before: this line was changed after it was written, \
                        or environment.json was");
        }
        Ok(next)
    }
}

/// Hexadecimal digits.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&qa_model::hash::hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_leads_to_the_same_link() {
        let first = Link::first(b"{}");
        let (line, sealed) = first.seal(br#"{"seq":0,"a":"x\n"}"#.to_vec());
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            format!("{{\"seq\":0,\"a\":\"x\\n\",\"chain\":\"{sealed}\"}}\n")
        );
        assert_eq!(first.next(&[br#"{"seq":0,"a":"x\n"}"#]), sealed);
        assert_eq!(first.follow(&line), Ok(sealed));
    }

    /// By `printf '%s%s' "$(printf '{}' | sha256sum | cut -c1-64)" '{"seq":0}' | sha256sum`.
    #[test]
    fn a_link_is_what_common_tools_compute() {
        let link = Link::first(b"{}").next(&[br#"{"seq":0}"#]);
        assert_eq!(link.to_string(), "78eb71a67ab2552b4d264d19091a70be4360cc99a7838b9dcc3c5777e493db97");
    }

    #[test]
    fn every_changed_byte_of_a_line_is_seen() {
        let first = Link::first(b"{}");
        let (line, _) = first.seal(br#"{"seq":0,"ns":12}"#.to_vec());
        for at in 0..line.len() {
            let mut changed = line.clone();
            changed[at] ^= 1;
            assert!(first.follow(&changed).is_err(), "byte {at}");
        }
        assert!(Link::first(b"{ }").follow(&line).is_err(), "another environment");
        assert!(first.follow(b"{}\n").is_err());
        assert!(first.follow(b"").is_err());
    }
}
