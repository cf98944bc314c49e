//! The listener: binds, accepts, and serves each connection within bounds until the process stops.
//!
//! Stop: no new connections; requests that are running are finished, event streams end, idle connections close; the
//! supervisor's grace bounds all of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{View, auth, router, tls};
use crate::config;
use crate::seams;
use crate::supervise::{TaskKind, Tasks};

/// The bounds of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time: a thousand scrapers and consoles are none of our users; each costs a task and two buffers.
    pub connections: usize,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// From the first byte awaited to the end of a request's head; also closes idle connections.
    pub head: Duration,
    /// For a whole request and the beginning of its answer.
    pub answer: Duration,
    /// Of a request's head, bytes.
    pub head_bytes: usize,
    /// Between two comments on a silent event stream: below the idle limit of common proxies (60 s), with room for one that
    /// is lost.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            answer: Duration::from_secs(30),
            head_bytes: 32 * 1024,
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// The listener cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A bound listener; it answers once it is run.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    limits: Limits,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).field("tls", &self.tls.is_some()).finish()
    }
}

/// Reads the tokens file; without one, only loopback may be listened on, since nobody could be told from anybody.
pub fn tokens(serve: &config::Serve) -> Result<auth::Tokens, StartError> {
    match &serve.tokens_file {
        Some(path) => auth::Tokens::open(path).map_err(StartError),
        None if serve.listen.ip().is_loopback() => Ok(auth::Tokens::none()),
        None => Err(StartError(format!(
            "[serve] listen = \"{}\" is not loopback and there is no tokens_file; make a token with \
             `plimsoll token new`, or listen on 127.0.0.1",
            serve.listen
        ))),
    }
}

impl Listener {
    /// Reads the TLS files and binds.
    pub async fn bind(serve: &config::Serve, limits: Limits) -> Result<Self, StartError> {
        let tls = serve.tls.as_ref().map(tls::open).transpose().map_err(StartError)?.map(TlsAcceptor::from);
        let failed = |e: std::io::Error| {
            StartError(format!(
                "[serve] listen = \"{}\" cannot be bound: {e}; is another Plimsoll running?",
                serve.listen
            ))
        };
        let socket = TcpListener::bind(serve.listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "listening beyond this machine without TLS: tokens travel in the clear");
        }
        Ok(Self { socket, tls, address, limits })
    }

    /// Where it listens: the port that was given for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on, as tasks of the process.
    pub fn run(self, view: Arc<View>, tasks: &Tasks) {
        let inner = tasks.clone();
        tasks.spawn(TaskKind::Listener, format!("listener {}", self.address), async move {
            self.accept(view, inner).await;
            Ok(())
        });
    }

    async fn accept(self, view: Arc<View>, tasks: Tasks) {
        let stopping = tasks.stopping();
        let router = router::router(&view, self.limits);
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        tracing::info!(address = %self.address, tls = self.tls.is_some(), "listening");
        loop {
            // A slot first: what is above the bound waits in the kernel's backlog, and every slot comes free in time.
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
                (slot, self.socket.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                () = stopping.cancelled() => return,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection {
                        view: Arc::clone(&view),
                        router: router.clone(),
                        tls: self.tls.clone(),
                        limits: self.limits,
                        stopping: stopping.clone(),
                    };
                    tasks.spawn(
                        TaskKind::Connection,
                        format!("connection {peer}"),
                        connection.serve(stream, peer, slot),
                    );
                }
                // Out of file descriptors, or a connection that was reset before it was accepted: neither ends the
                // listener, and a pause keeps the first from becoming a busy loop.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    view.clock.sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// One connection.
struct Connection {
    view: Arc<View>,
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    stopping: CancellationToken,
}

impl Connection {
    /// What a client does wrong is the client's trouble: it is told to the debug log and is never a failed task.
    async fn serve(self, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) -> Result<(), String> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let Some(acceptor) = self.tls.clone() else {
            self.http(stream, peer).await;
            return Ok(());
        };
        let handshake = seams::timeout(self.view.clock.as_ref(), self.limits.handshake, acceptor.accept(stream));
        let shaken = tokio::select! {
            () = self.stopping.cancelled() => return Ok(()),
            shaken = handshake => shaken,
        };
        match shaken {
            Some(Ok(stream)) => self.http(stream, peer).await,
            Some(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            None => tracing::debug!(%peer, "TLS handshake took too long"),
        }
        Ok(())
    }

    async fn http<S>(self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.head).max_buf_size(self.limits.head_bytes);
        let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        let mut served = std::pin::pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = self.stopping.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended badly");
        }
    }
}
