//! Waiting for a condition, bounded, with the last thing that was seen in the failure.

use std::time::{Duration, Instant};

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` brings a value, and panics with what it said last after `within`.
pub(crate) async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let begun = Instant::now();
    loop {
        let last = match tokio::time::timeout(within, look()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(last)) => last,
            Err(_) => "a look did not end".to_owned(),
        };
        assert!(begun.elapsed() < within, "waited {within:?} for {what}: {last}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `Ok` when the condition holds, else what was seen.
pub(crate) fn holds(condition: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{seen:?}")) }
}
