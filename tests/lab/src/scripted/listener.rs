//! A loopback listener with a door that can be shut: the network between a client and what stands for AWS.
//!
//! It has its own small runtime, so that a busy or paused test runtime does not slow it, and so that dropping it ends
//! every connection at once: nothing it started outlives it.

use super::traffic::{Counted, Traffic};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// How connections are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Served.
    Open,
    /// Reset, the new ones and the existing ones. The port stays ours, so a client sees a reset, not a refusal.
    Cut,
    /// Accepted and never answered; a request under way is not answered either.
    Blackhole,
}

/// Why a request ends without an answer; hyper closes the connection on it.
#[derive(Debug)]
pub(crate) struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer, as a fault rule asked")
    }
}

impl std::error::Error for NoAnswer {}

/// A listener on a free loopback port.
pub(crate) struct Listener {
    address: SocketAddr,
    door: watch::Sender<Door>,
    traffic: Arc<Traffic>,
    runtime: Option<Runtime>,
}

impl Listener {
    /// Serves `answer` on 127.0.0.1 with `workers` threads.
    pub(crate) fn start<F, R, B>(name: &str, workers: usize, answer: F) -> io::Result<Self>
    where
        F: Fn(hyper::Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<hyper::Response<B>, NoAnswer>> + Send + 'static,
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (door, watching) = watch::channel(Door::Open);
        let runtime =
            Builder::new_multi_thread().worker_threads(workers.max(1)).thread_name(name).enable_all().build()?;
        // From here an error drops the runtime as `drop` below does, never plainly.
        let traffic = Arc::new(Traffic::default());
        let serving = Self { address, door, traffic: Arc::clone(&traffic), runtime: Some(runtime) };
        let listener = {
            let _inside = serving.handle().enter();
            TcpListener::from_std(socket)?
        };
        serving.handle().spawn(accept(listener, watching, traffic, Arc::new(answer)));
        Ok(serving)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set_door(&self, door: Door) {
        self.door.send_replace(door);
    }

    /// Bytes received and bytes sent so far.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        self.traffic.bytes()
    }

    /// Where work that must outlive a request is put.
    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime is taken only by drop").handle()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not a plain drop: that would wait, which panics inside an async test.
            runtime.shutdown_background();
        }
    }
}

async fn accept<F, R, B>(
    listener: TcpListener,
    door: watch::Receiver<Door>,
    traffic: Arc<Traffic>,
    answer: Arc<F>,
) -> Infallible
where
    F: Fn(hyper::Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<hyper::Response<B>, NoAnswer>> + Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        // An accept fails when the client is gone already or descriptors are short; both pass.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        tokio::spawn(connection(stream, door.clone(), Arc::clone(&traffic), Arc::clone(&answer)));
    }
}

async fn connection<F, R, B>(stream: TcpStream, mut door: watch::Receiver<Door>, traffic: Arc<Traffic>, answer: Arc<F>)
where
    F: Fn(hyper::Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<hyper::Response<B>, NoAnswer>> + Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if *door.borrow_and_update() == Door::Cut {
        // Reset instead of an orderly close; if the option cannot be set the close still tells the client.
        drop(stream.set_zero_linger());
        return;
    }
    drop(stream.set_nodelay(true));
    let served = http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(Counted::new(stream, traffic)), service_fn(move |request| answer(request)));
    tokio::pin!(served);
    loop {
        let now = *door.borrow_and_update();
        match now {
            Door::Cut => return,
            Door::Open => tokio::select! {
                // The door first: a request that comes after it was shut is not served.
                biased;
                changed = door.changed() => if changed.is_err() { return },
                // Errors here are the client's going away, or a fault that closes the connection.
                _ = &mut served => return,
            },
            Door::Blackhole => {
                // The connection is kept and no longer driven. When the door opens again it is dropped: whoever
                // waited in the hole waits for an answer that was lost.
                drop(door.changed().await);
                return;
            }
        }
    }
}
