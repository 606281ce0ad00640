//! The load: clients that each keep one request in flight until all requests are made or the time is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::FOR_EVER;
use super::grpc::{Connection, Method, frame};
use crate::ctl::fail::{Exit, Failure};
use crate::proto::etcdserverpb as pb;

/// What one request does.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Put { key_size: usize, value_size: usize, key_space: usize, sequential: bool },
    Range { key: Bytes, range_end: Bytes, serializable: bool, limit: i64, keys_only: bool, count_only: bool },
}

/// How much of it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub operation: Operation,
    pub connections: usize,
    pub clients: usize,
    /// Requests in all.
    pub total: Option<usize>,
    /// No request starts after this time.
    pub at_most: Option<Duration>,
    /// 0 for as many as go.
    pub per_second: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub elapsed: Duration,
    /// Microseconds of each answered request, in rising order.
    pub latencies: Vec<u32>,
    pub errors: usize,
    pub first_error: Option<String>,
}

/// Where all clients of one run meet; they share one thread.
struct Shared {
    next: Cell<usize>,
    start: Instant,
    load: Load,
    latencies: RefCell<Vec<u32>>,
    errors: Cell<usize>,
    first_error: RefCell<Option<String>>,
}

/// Connects first, so that only requests are measured.
pub(super) async fn run(load: &Load, endpoints: &[String]) -> Result<Figures, Failure> {
    let path = match load.operation {
        Operation::Put { .. } => "/etcdserverpb.KV/Put",
        Operation::Range { .. } => "/etcdserverpb.KV/Range",
    };
    let mut methods = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let endpoint = &endpoints[number % endpoints.len()];
        methods.push(
            connect(endpoint, path)
                .await
                .map_err(|error| Failure::new(Exit::Failed, format!("connecting to {endpoint}: {error}")))?,
        );
    }
    let shared = Rc::new(Shared {
        next: Cell::new(0),
        start: Instant::now(),
        load: load.clone(),
        latencies: RefCell::new(Vec::with_capacity(load.total.unwrap_or(1 << 20))),
        errors: Cell::new(0),
        first_error: RefCell::default(),
    });
    let clients = tokio::task::LocalSet::new();
    for number in 0..load.clients {
        let method = methods[number % methods.len()].clone();
        clients.spawn_local(work(shared.clone(), method, number as u64));
    }
    clients.await;
    let elapsed = shared.start.elapsed();
    let mut latencies = shared.latencies.take();
    latencies.sort_unstable();
    let first_error = shared.first_error.take();
    Ok(Figures { elapsed, latencies, errors: shared.errors.get(), first_error })
}

async fn connect(endpoint: &str, path: &str) -> Result<Method, String> {
    let (host, port) = super::cpu::host_and_port(endpoint).ok_or("HOST:PORT would be right")?;
    Connection::open(&host, port).await?.method(path)
}

async fn work(shared: Rc<Shared>, mut method: Method, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let prepared = Prepared::new(&shared.load.operation);
    while let Some(number) = shared.take().await {
        let framed = prepared.request(number, &mut random);
        let sent = Instant::now();
        match method.call(framed).await {
            Ok(()) => {
                let micros = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
                shared.latencies.borrow_mut().push(micros);
            }
            Err(error) => {
                shared.errors.set(shared.errors.get() + 1);
                shared.first_error.borrow_mut().get_or_insert(error);
                // A server that is away answers at once; the generator must not spin on it.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

impl Shared {
    /// The number of the next request, when its time has come; `None` when there is none left.
    async fn take(&self) -> Option<usize> {
        let number = self.next.get();
        if self.load.total.is_some_and(|total| number >= total)
            || self.start.elapsed() >= self.load.at_most.unwrap_or(FOR_EVER)
        {
            return None;
        }
        self.next.set(number + 1);
        if let Some(due) = (number as u64 * 1_000_000).checked_div(self.load.per_second) {
            tokio::time::sleep_until(self.start + Duration::from_micros(due)).await;
        }
        Some(number)
    }
}

/// What need not be made anew for each request.
enum Prepared {
    Same(Bytes),
    Put { key_size: usize, value: Bytes, key_space: usize, sequential: bool },
}

impl Prepared {
    fn new(operation: &Operation) -> Prepared {
        match operation.clone() {
            Operation::Put { key_size, value_size, key_space, sequential } => {
                Prepared::Put { key_size, value: vec![b'v'; value_size].into(), key_space, sequential }
            }
            Operation::Range { key, range_end, serializable, limit, keys_only, count_only } => {
                Prepared::Same(frame(&pb::RangeRequest {
                    key,
                    range_end,
                    serializable,
                    limit,
                    keys_only,
                    count_only,
                    ..Default::default()
                }))
            }
        }
    }

    fn request(&self, number: usize, random: &mut SmallRng) -> Bytes {
        match self {
            Prepared::Same(framed) => framed.clone(),
            Prepared::Put { key_size, value, key_space, sequential } => {
                let which = if *sequential { number % key_space } else { random.random_range(0..*key_space) };
                frame(&pb::PutRequest {
                    key: key(which, *key_size),
                    value: value.clone(),
                    ..Default::default()
                })
            }
        }
    }
}

/// The number in the last bytes of the key, the greatest byte first, so that keys sort as numbers.
fn key(number: usize, size: usize) -> Bytes {
    let digits = (number as u64).to_be_bytes();
    let mut key = vec![b'k'; size];
    let count = size.min(digits.len());
    key[size - count..].copy_from_slice(&digits[digits.len() - count..]);
    key.into()
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_carry_their_number_at_the_end() {
        assert_eq!(&key(258, 10)[..], b"kk\0\0\0\0\0\0\x01\x02");
        assert_eq!(&key(258, 1)[..], b"\x02");
    }
}
