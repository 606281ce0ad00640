//! Time as an argument, so that what waits can be tested without waiting.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A future that is ready when a time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the time comes from. `sleep` counts from the call, not from the first poll.
pub trait Clock: Send + Sync {
    fn now(&self) -> Instant;
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The time of the machine, monotonic.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Time that stands still until it is advanced.
#[derive(Clone)]
pub struct ManualClock {
    now: Arc<Mutex<Instant>>,
    moved: Arc<Notify>,
}

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock { now: Arc::new(Mutex::new(Instant::now())), moved: Arc::default() }
    }
}

impl ManualClock {
    /// Moves the time forward and wakes every sleeper whose time has come.
    pub fn advance(&self, duration: Duration) {
        *self.now.lock() += duration;
        self.moved.notify_waiters();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.now.lock()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = self.clone();
        let until = self.now() + duration;
        Box::pin(async move {
            loop {
                let moved = clock.moved.notified();
                if clock.now() >= until {
                    return;
                }
                moved.await;
            }
        })
    }
}
