//! What a worker does with a prompt that it has not seen, after it delivered what is timed.

use super::execute::{Halt, Runner};
use super::worker::{Delivery, Ready};
use crate::plan::{UNSEEN_ASKED, unseen_prompt, unseen_tokens};
use crate::samples::{Evidence, ProcessKey};
use crate::spec::{Arm, Backend};
use qa_protocol::{Metric, RunRequest, TokenSource};

/// What is asked for, where it was asked for in the timed run.
const SPEEDS: [Metric; 3] = [Metric::DecodeRate, Metric::PrefillRate, Metric::TimeToFirstToken];

/// Ask a worker that ran `timed`. One whose program takes no prompt, or remembers none of them, is not asked.
pub(super) fn ask(
    runner: &mut Runner<'_, '_>,
    key: &ProcessKey,
    arm: &Arm,
    ready: &mut Ready,
    timed: &RunRequest,
) -> Result<Delivery<()>, Halt> {
    // `llama-bench` makes its own prompts; an Ollama is given another one in every iteration as it is.
    let makes_its_own = ready.hello.capabilities.tokens == Some(TokenSource::Beside) || arm.backend == Backend::Ollama;
    if makes_its_own {
        return Ok(Ok(()));
    }
    for which in 0..UNSEEN_ASKED {
        let Some(prompt) = unseen_prompt(&timed.prompt, runner.setup.salt, key.block, which) else { break };
        let request = RunRequest {
            prompt: prompt.clone(),
            generate_tokens: unseen_tokens(timed.generate_tokens),
            warmup: 0,
            iterations: 1,
            metrics: timed.metrics.iter().copied().filter(|metric| SPEEDS.contains(metric)).collect(),
            ..timed.clone()
        };
        let mut answer = None;
        if let Err(loss) = ready.session.run(&request, &mut |sample, _| answer = Some(sample)) {
            return Ok(Err(loss));
        }
        if let Some(sample) = answer {
            runner.journal.append(Evidence::Unseen { process: key.clone(), prompt, sample })?;
        }
    }
    Ok(Ok(()))
}
