//! Captured work, replayed.

use super::stream::Stream;
use crate::error::{Error, GraphStep, Result};
use cudarc::driver::{result, sys};

/// A graph that can be launched.
#[derive(Debug)]
pub struct Graph {
    handle: sys::CUgraph,
    executable: sys::CUgraphExec,
    nodes: usize,
}

/// Ends a capture that nobody ended, so that an error leaves the stream usable.
struct Capture<'a> {
    stream: &'a Stream,
    open: bool,
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.open {
            // SAFETY: the stream is capturing; a graph that comes of it is not kept.
            if let Ok(graph) = unsafe { result::stream::end_capture(self.stream.handle()) }
                && !graph.is_null()
            {
                // SAFETY: the graph was just returned and nobody else has it.
                let _ = unsafe { result::graph::destroy(graph) };
            }
        }
    }
}

impl Graph {
    /// Captures what `submit` submits to `stream` and to the streams that it forks from it.
    ///
    /// # Errors
    /// [`Error::Graph`] with the step that failed, or what `submit` says.
    pub fn capture(stream: &Stream, submit: impl FnOnce() -> Result<()>) -> Result<Self> {
        let at = |step| move |source| Error::Graph { step, source };
        // Only this thread's calls are held to what a capture allows: others may allocate.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is valid and not capturing.
        unsafe { result::stream::begin_capture(stream.handle(), mode) }.map_err(at(GraphStep::Begin))?;
        let mut capture = Capture { stream, open: true };
        submit()?;
        capture.open = false;
        // SAFETY: the stream is capturing.
        let graph = unsafe { result::stream::end_capture(stream.handle()) }.map_err(at(GraphStep::End))?;
        let flags = sys::CUgraphInstantiate_flags_enum(0);
        // SAFETY: the graph is valid.
        let executable = match unsafe { result::graph::instantiate(graph, flags) } {
            Ok(executable) => executable,
            Err(source) => {
                // SAFETY: the graph is valid and nobody else has it.
                let _ = unsafe { result::graph::destroy(graph) };
                return Err(Error::Graph { step: GraphStep::Instantiate, source });
            }
        };
        let mut nodes = 0;
        // SAFETY: with a null array the driver only counts.
        unsafe { sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &raw mut nodes) }.result()?;
        Ok(Self { handle: graph, executable, nodes })
    }

    /// Nodes in it.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Submits a replay.
    ///
    /// # Errors
    /// [`Error::Graph`].
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are valid.
        unsafe { result::graph::launch(self.executable, stream.handle()) }
            .map_err(|source| Error::Graph { step: GraphStep::Launch, source })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: both were made in `capture` and are destroyed once.
        unsafe {
            let _ = result::graph::exec_destroy(self.executable);
            let _ = result::graph::destroy(self.handle);
        }
    }
}
