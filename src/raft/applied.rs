//! How far this member has applied, and who waits for it to get further.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::courier::Courier;
use super::error::Error;

pub(super) type Waiter = oneshot::Sender<Result<(), Error>>;

/// Indexes here are the clients': the first entry is 1.
#[derive(Default)]
pub(super) struct Applied {
    index: AtomicU64,
    waiting: Mutex<Vec<Wait>>,
    courier: Courier,
}

struct Wait {
    index: u64,
    deadline: Instant,
    waiters: Vec<Waiter>,
}

impl Applied {
    pub(super) fn new(courier: Courier) -> Self {
        Self { courier, ..Self::default() }
    }

    pub(super) fn index(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    /// Called once a batch of entries was applied.
    pub(super) fn advance(&self, index: u64) {
        self.index.store(index, Ordering::Release);
        let done: Vec<_> = self.waiting.lock().extract_if(.., |wait| wait.index <= index).collect();
        self.release(done);
    }

    /// Answers `waiters` when `index` is applied, or at the deadline with [`Error::TimeoutWaitApplied`].
    pub(super) fn when(&self, index: u64, deadline: Instant, waiters: Vec<Waiter>) {
        let wait = Wait { index, deadline, waiters };
        // Looked at under the lock, so that an advance in between cannot be missed.
        let mut waiting = self.waiting.lock();
        if self.index() >= index {
            drop(waiting);
            self.release(vec![wait]);
        } else {
            waiting.push(wait);
        }
    }

    fn release(&self, done: Vec<Wait>) {
        let count = done.iter().map(|wait| wait.waiters.len()).sum();
        if count > 0 {
            self.courier.carry(count, || done.into_iter().for_each(|wait| answer(wait, &Ok(()))));
        }
    }

    pub(super) async fn wait(&self, index: u64, deadline: Instant) -> Result<(), Error> {
        let (waiter, applied) = oneshot::channel();
        self.when(index, deadline, vec![waiter]);
        applied.await.unwrap_or(Err(Error::Stopped))
    }

    pub(super) fn give_up_late(&self, now: Instant) {
        let mut waiting = self.waiting.lock();
        waiting
            .extract_if(.., |wait| wait.deadline <= now)
            .for_each(|wait| answer(wait, &Err(Error::TimeoutWaitApplied)));
    }

    pub(super) fn stop(&self) {
        self.waiting.lock().drain(..).for_each(|wait| answer(wait, &Err(Error::Stopped)));
    }
}

fn answer(wait: Wait, result: &Result<(), Error>) {
    for waiter in wait.waiters {
        // Who asked may have gone.
        let _ = waiter.send(result.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn waiters_are_answered_in_their_turn() {
        let applied = Applied::default();
        let later = Instant::now() + Duration::from_secs(60);
        let (first, mut first_answer) = oneshot::channel();
        let (second, mut second_answer) = oneshot::channel();
        applied.when(3, later, vec![first]);
        applied.when(5, later, vec![second]);
        applied.advance(4);
        assert_eq!(first_answer.try_recv(), Ok(Ok(())));
        assert!(second_answer.try_recv().is_err());
        applied.give_up_late(later);
        assert_eq!(second_answer.try_recv(), Ok(Err(Error::TimeoutWaitApplied)));
        assert_eq!(applied.wait(4, later).await, Ok(()));
    }
}
