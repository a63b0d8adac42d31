//! The connection to libvirtd: a bounded number of blocking calls, and reconnecting when it went away.

use crate::events::{EventSink, Subscription};
use ferrostack_model::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use virt::connect::Connect;
use virt::error::{Error as VirtError, ErrorNumber};

/// Seconds between keep-alive messages; a libvirtd that hangs is given up after [`KEEPALIVE_COUNT`] of them.
const KEEPALIVE_SECONDS: i32 = 5;
/// Unanswered keep-alive messages after which the connection is closed.
const KEEPALIVE_COUNT: u32 = 6;

/// How long a caller waits. The call itself cannot be ended: it keeps its place among the calls until libvirt answers,
/// so that a libvirtd that hangs is not buried under more. libvirt takes most of a minute where KVM is broken.
const ANSWER: Duration = Duration::from_secs(120);

/// What a closure passed to [`Connection::call`] returns.
pub type CallResult<T> = std::result::Result<T, CallError>;

/// An error inside a call: libvirt's, or already ours.
#[derive(Debug)]
pub enum CallError {
    /// libvirt refused or failed.
    Virt(VirtError),
    /// Ours; passed on unchanged.
    Own(Error),
}

impl From<VirtError> for CallError {
    fn from(e: VirtError) -> Self {
        Self::Virt(e)
    }
}

impl From<Error> for CallError {
    fn from(e: Error) -> Self {
        Self::Own(e)
    }
}

/// Connections to one libvirtd, opened as needed. Each serves one call at a time: libvirt's client has a race between
/// threads that share a connection, which ends the process (CVE-2024-4418, in many distributions' versions). One more
/// only brings events.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    uri: String,
    sink: Arc<EventSink>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connect>>,
    events: Mutex<Option<(Connect, Subscription)>>,
}

impl Connection {
    /// Connections to `uri`, none opened yet; at most `max_calls` calls run at once.
    pub fn new(uri: &str, max_calls: usize, sink: Arc<EventSink>) -> Self {
        Self {
            inner: Arc::new(Inner {
                uri: uri.to_owned(),
                sink,
                permits: Arc::new(Semaphore::new(max_calls.max(1))),
                idle: Mutex::default(),
                events: Mutex::default(),
            }),
        }
    }

    /// Runs `f`, which may block and may run a second time if the connection breaks under it, on a thread of its
    /// own. `what` says in errors what was tried. No handle of libvirt's may leave `f`.
    ///
    /// # Errors
    /// `Unavailable` if libvirt cannot be reached, `NotFound` if the domain is gone, else `Internal`.
    pub async fn call<T, F>(&self, what: impl Into<String>, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connect) -> CallResult<T> + Send + 'static,
    {
        let what = what.into();
        let name = what.clone();
        self.blocking(name, move |inner| inner.run(&what, f)).await
    }

    /// Brings events if they do not come already; whether they come only from now on.
    ///
    /// # Errors
    /// `Unavailable` if libvirt cannot be reached.
    pub async fn listen(&self) -> Result<bool> {
        self.blocking("listening to events".into(), Inner::listen).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: String,
        f: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        let work = async move {
            let permit = inner.permits.clone().acquire_owned().await;
            let permit = permit.map_err(|_| Error::unavailable("the libvirt connection is shut down"))?;
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                f(&inner)
            })
            .await
            .map_err(|e| Error::internal(format!("a libvirt call ended abnormally: {e}")))?
        };
        let late =
            || Error::unavailable(format!("{what}: libvirt did not answer within {} s", ANSWER.as_secs()));
        tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| Err(late()))
    }
}

impl Inner {
    fn run<T>(&self, what: &str, f: impl Fn(&Connect) -> CallResult<T>) -> Result<T> {
        // One that hung until the keep-alive gave up is likely to hang again.
        let retry_until = Instant::now() + Duration::from_secs(10);
        let mut again = true;
        loop {
            let connect = self.take()?;
            let result = f(&connect);
            let alive = connect.is_alive().unwrap_or(false);
            if alive {
                self.idle.lock().push(connect);
            }
            match result {
                Ok(value) => return Ok(value),
                Err(CallError::Own(e)) => return Err(e),
                Err(CallError::Virt(e)) if alive => return Err(translate(what, &e)),
                Err(CallError::Virt(e)) if again && Instant::now() < retry_until => {
                    tracing::warn!(uri = %self.uri, error = %e, "libvirt connection lost, reconnecting");
                    again = false;
                }
                Err(CallError::Virt(e)) => {
                    return Err(Error::unavailable(format!("{what}: the connection to libvirt broke: {e}")));
                }
            }
        }
    }

    /// A connection that nobody else uses.
    fn take(&self) -> Result<Connect> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(connect) if connect.is_alive().unwrap_or(false) => return Ok(connect),
                Some(dead) => drop(dead),
                None => return self.open(),
            }
        }
    }

    fn open(&self) -> Result<Connect> {
        let connect = Connect::open(Some(&self.uri)).map_err(|e| self.unreachable(&e))?;
        // Drivers inside the client library (test:) have no keep-alive.
        if let Err(e) = connect.set_keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT) {
            tracing::debug!(error = %e, "no keep-alive on this libvirt connection");
        }
        Ok(connect)
    }

    fn unreachable(&self, e: &VirtError) -> Error {
        Error::unavailable(format!("cannot connect to libvirt at {}: {}", self.uri, e.message()))
    }

    fn listen(&self) -> Result<bool> {
        let mut events = self.events.lock();
        if let Some((connect, subscription)) = events.take() {
            if connect.is_alive().unwrap_or(false) {
                *events = Some((connect, subscription));
                return Ok(false);
            }
            crate::events::unsubscribe(&connect, subscription);
        }
        let connect = self.open()?;
        let subscription =
            crate::events::subscribe(&connect, &self.sink).map_err(|e| self.unreachable(&e))?;
        *events = Some((connect, subscription));
        tracing::info!(uri = %self.uri, "connected to libvirt");
        Ok(true)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((connect, subscription)) = self.events.get_mut().take() {
            crate::events::unsubscribe(&connect, subscription);
        }
    }
}

/// Whether libvirt says that there is no such domain or network.
pub fn is_missing(e: &VirtError) -> bool {
    use ErrorNumber as E;
    [E::NoDomain, E::NoNetwork, E::NoDomainMetadata].into_iter().any(|number| e.code().is(number))
}

/// `None` where libvirt says that there is no such thing.
pub fn optional<T>(result: std::result::Result<T, VirtError>) -> std::result::Result<Option<T>, VirtError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Success where the thing was already as wanted (libvirt: "the operation is not valid in this state").
pub fn already(
    result: std::result::Result<(), VirtError>,
    as_wanted: impl FnOnce() -> std::result::Result<bool, VirtError>,
) -> std::result::Result<(), VirtError> {
    match result {
        Err(e) if e.code().is(ErrorNumber::OperationInvalid) && as_wanted()? => Ok(()),
        other => other,
    }
}

/// libvirt's text stays in the internal part: it may hold paths and names of the host.
fn translate(what: &str, e: &VirtError) -> Error {
    let code = e.code();
    let text = format!("{what}: {e}");
    if code.is(ErrorNumber::NoDomain) {
        return Error::not_found("The guest is not defined on this host.").with_internal(text);
    }
    let busy = [ErrorNumber::OperationTimeout, ErrorNumber::ResourceBusy];
    if busy.into_iter().any(|number| code.is(number)) {
        return Error::unavailable(text);
    }
    if code.is(ErrorNumber::OperationInvalid) {
        return Error::new(ErrorKind::Conflict, "The guest's state does not allow this operation.")
            .with_internal(text);
    }
    if code.is(ErrorNumber::ConfigUnsupported) {
        // Another host may have what this one lacks.
        return Error::new(ErrorKind::NotImplemented, "The host does not support the requested hardware.")
            .with_internal(text);
    }
    Error::internal(text)
}

/// Time until the supervisor tries again to connect.
pub const RECONNECT: Duration = Duration::from_secs(1);
