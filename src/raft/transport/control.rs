//! The control link: small requests and their answers, several at once, on one connection that is
//! kept up all the time. Its state is what we know of the peer's health.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::dial::{Connection, dial};
use super::frame::Frame;
use super::message::{Link, Reply, Request};
use crate::raft::peers::Peer;
use crate::raft::shared::Shared;

const REDIAL_FIRST: Duration = Duration::from_millis(25);
/// As often as etcd dials, so that a member that restarts is met within a heartbeat or two.
const REDIAL_MAX: Duration = Duration::from_millis(100);
const BATCH: usize = 64;

type Waiter = oneshot::Sender<Reply>;

/// The asking end; cheap to clone.
#[derive(Clone)]
pub(in crate::raft) struct Control {
    requests: mpsc::UnboundedSender<(Request, Waiter)>,
    up: watch::Receiver<bool>,
    called: Arc<Notify>,
}

/// The end that owns the connection.
pub(in crate::raft) struct ControlQueue {
    requests: mpsc::UnboundedReceiver<(Request, Waiter)>,
    up: watch::Sender<bool>,
    called: Arc<Notify>,
}

impl Control {
    pub(in crate::raft) fn new() -> (Self, ControlQueue) {
        let (to_link, requests) = mpsc::unbounded_channel();
        let (set_up, up) = watch::channel(false);
        let called = Arc::new(Notify::new());
        let queue = ControlQueue { requests, up: set_up, called: Arc::clone(&called) };
        (Self { requests: to_link, up, called }, queue)
    }

    /// The peer has dialled us, so it can be reached: there is no pause before the next attempt.
    pub(super) fn call_back(&self) {
        self.called.notify_one();
    }

    /// Asks, waiting for the link to come up if it is down.
    ///
    /// # Errors
    /// `NotConnected` while the link is down, `TimedOut`, or what broke the link while we waited.
    pub(in crate::raft) async fn request(&self, request: Request, within: Duration) -> io::Result<Reply> {
        timeout(within, self.ask(request)).await.map_err(|_| self.late())?
    }

    pub(in crate::raft) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Resolves when the link is up, or down.
    pub(in crate::raft) async fn until(&self, up: bool) {
        // A peer that is closed has no link any more, which is down for good.
        if self.up.clone().wait_for(|is_up| *is_up == up).await.is_err() && up {
            std::future::pending().await
        }
    }

    async fn ask(&self, request: Request) -> io::Result<Reply> {
        let mut up = self.up.clone();
        up.wait_for(|up| *up).await.map_err(|_| closed())?;
        let (waiter, reply) = oneshot::channel();
        self.requests.send((request, waiter)).map_err(|_| closed())?;
        match reply.await.map_err(|_| closed())? {
            Reply::Stopped => Err(closed()),
            reply => Ok(reply),
        }
    }

    fn late(&self) -> io::Error {
        let kind = if self.is_up() { io::ErrorKind::TimedOut } else { io::ErrorKind::NotConnected };
        kind.into()
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the link to the peer broke")
}

impl ControlQueue {
    pub(in crate::raft) fn run(mut self, shared: &Arc<Shared>, peer: &Arc<Peer>) {
        let (for_task, peer_for_task) = (Arc::clone(shared), Arc::clone(peer));
        peer.spawn(shared, async move { self.keep_up(&for_task, &peer_for_task).await });
    }

    async fn keep_up(&mut self, shared: &Arc<Shared>, peer: &Peer) {
        let mut pause = REDIAL_FIRST;
        loop {
            match dial(shared, peer, Link::Control).await {
                Ok(connection) => {
                    peer.connected();
                    self.up.send_replace(true);
                    let error = self.converse(connection, shared, peer).await;
                    self.up.send_replace(false);
                    peer.disconnected(&error);
                    pause = REDIAL_FIRST;
                }
                Err(error) => peer.unreachable(&error),
            }
            // Dropping what was asked meanwhile tells the askers.
            while self.requests.try_recv().is_ok() {}
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(REDIAL_MAX),
                () = self.called.notified() => pause = REDIAL_FIRST,
            }
        }
    }

    /// Carries requests and answers until the link breaks; returns why it did.
    async fn converse(&mut self, connection: Connection, shared: &Shared, peer: &Peer) -> io::Error {
        let Connection { mut reader, mut writer } = connection;
        let mut exchange = Exchange::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut ping = interval(shared.timing.ping_interval());
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                frame = reader.next() => frame.and_then(|frame| exchange.answered(frame, peer)),
                count = self.requests.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return closed();
                    }
                    batch.drain(..).for_each(|(request, waiter)| exchange.ask(&request, waiter));
                    writer.write_all_buf(&mut exchange.out).await
                }
                now = ping.tick() => match exchange.ping(now, shared.timing.link_patience()) {
                    Ok(()) => writer.write_all_buf(&mut exchange.out).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = result {
                return error;
            }
        }
    }
}

/// Requests under way on one connection.
struct Exchange {
    next_id: u64,
    waiters: HashMap<u64, Waiter>,
    pinged: Option<(u64, Instant)>,
    heard: Instant,
    out: BytesMut,
}

impl Exchange {
    fn new() -> Self {
        Self {
            next_id: 0,
            waiters: HashMap::new(),
            pinged: None,
            heard: Instant::now(),
            out: BytesMut::new(),
        }
    }

    fn ask(&mut self, request: &Request, waiter: Waiter) {
        self.next_id += 1;
        request.put(self.next_id, &mut self.out);
        self.waiters.insert(self.next_id, waiter);
    }

    fn ping(&mut self, now: Instant, patience: Duration) -> io::Result<()> {
        if now.duration_since(self.heard) > patience {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer is silent"));
        }
        self.next_id += 1;
        Request::Ping.put(self.next_id, &mut self.out);
        self.pinged = Some((self.next_id, Instant::now()));
        // Waiters that timed out are forgotten here, lest a peer that never answers gathers them.
        self.waiters.retain(|_, waiter| !waiter.is_closed());
        Ok(())
    }

    fn answered(&mut self, frame: Frame, peer: &Peer) -> io::Result<()> {
        self.heard = Instant::now();
        if let Some((_, asked)) = self.pinged.take_if(|(id, _)| *id == frame.id) {
            peer.measured(asked.elapsed());
            return Ok(());
        }
        if let Some(waiter) = self.waiters.remove(&frame.id) {
            // Who asked may have gone.
            let _ = waiter.send(Reply::get(frame)?);
        }
        Ok(())
    }
}
