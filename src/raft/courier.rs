//! One wake-up for many, where the callers' thread and the Raft thread meet.
//!
//! To wake a task of another thread's runtime costs a system call. So answers to many go over together,
//! to a task beside the callers that hands them out there; and readers ring the Raft thread once all that
//! are ready at the moment have joined.

use std::sync::Arc;

use tokio::runtime;
use tokio::sync::mpsc;

use super::shared::Shared;

type Delivery = Box<dyn FnOnce() + Send>;

/// The Raft thread's end; cheap to clone. The default one hands out where it is called.
#[derive(Clone, Default)]
pub(super) struct Courier(Option<mpsc::UnboundedSender<Delivery>>);

impl Courier {
    /// One to the runtime that this is called in, which is the callers'.
    pub(super) fn here() -> Self {
        let Ok(callers) = runtime::Handle::try_current() else { return Self::default() };
        let (send, mut deliveries) = mpsc::unbounded_channel::<Delivery>();
        // Ends with the last sender.
        callers.spawn(async move {
            while let Some(hand_out) = deliveries.recv().await {
                hand_out();
            }
        });
        Self(Some(send))
    }

    /// Runs `hand_out`, which wakes `count` callers.
    pub(super) fn carry(&self, count: usize, hand_out: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(courier) if count > 1 => {
                // Fails when the callers' runtime has ended, and they with it.
                let _ = courier.send(Box::new(hand_out));
            }
            _ => hand_out(),
        }
    }
}

/// Rings the Raft thread for the readers who joined, from the callers' runtime if there is one.
pub(super) fn ring_for_readers(shared: &Arc<Shared>, callers: Option<&runtime::Handle>) {
    let ringing = Arc::clone(shared);
    callers.unwrap_or(&shared.runtime).spawn(async move {
        tokio::select! {
            () = ringing.stop.cancelled() => {}
            () = ringing.reads.gather() => {}
        }
    });
}
