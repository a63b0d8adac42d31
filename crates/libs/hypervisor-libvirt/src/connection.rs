//! The connection to libvirtd: a bounded number of blocking calls, and reconnecting when it went away.

use crate::events::{EventSink, Subscription};
use ferrostack_model::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
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

/// A shared connection that is reopened as needed.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    uri: String,
    sink: Arc<EventSink>,
    permits: Arc<Semaphore>,
    current: Mutex<Option<(Connect, Subscription)>>,
    /// Held while a connection is opened, so that only one is.
    opening: Mutex<()>,
}

impl Connection {
    /// A connection to `uri`, not opened yet; at most `max_calls` calls run at once.
    pub fn new(uri: &str, max_calls: usize, sink: Arc<EventSink>) -> Self {
        Self {
            inner: Arc::new(Inner {
                uri: uri.to_owned(),
                sink,
                permits: Arc::new(Semaphore::new(max_calls.max(1))),
                current: Mutex::new(None),
                opening: Mutex::new(()),
            }),
        }
    }

    /// Runs `f`, which may block and may run a second time if the connection breaks under it, on a thread of its
    /// own. `what` says in errors what was tried.
    ///
    /// # Errors
    /// `Unavailable` if libvirt cannot be reached, `NotFound` if the domain is gone, else `Internal`.
    pub async fn call<T, F>(&self, what: impl Into<String>, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connect) -> CallResult<T> + Send + 'static,
    {
        let what = what.into();
        let inner = self.inner.clone();
        let work = {
            let what = what.clone();
            async move {
                let permit = inner.permits.clone().acquire_owned().await;
                let permit = permit.map_err(|_| Error::unavailable("the libvirt connection is shut down"))?;
                tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    inner.run(&what, f)
                })
                .await
                .map_err(|e| Error::internal(format!("a libvirt call ended abnormally: {e}")))?
            }
        };
        let late =
            || Error::unavailable(format!("{what}: libvirt did not answer within {} s", ANSWER.as_secs()));
        tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// Whether a connection is open; says nothing of the daemon's health.
    pub fn is_open(&self) -> bool {
        self.inner.current.lock().is_some()
    }

    /// Opens the connection if it is not.
    pub async fn open(&self) -> Result<()> {
        self.call("connecting", |_| Ok(())).await
    }
}

impl Inner {
    fn run<T>(&self, what: &str, f: impl Fn(&Connect) -> CallResult<T>) -> Result<T> {
        let mut again = true;
        loop {
            let connect = self.get()?;
            match f(&connect) {
                Ok(value) => return Ok(value),
                Err(CallError::Own(e)) => return Err(e),
                Err(CallError::Virt(e)) => {
                    let alive = connect.is_alive().unwrap_or(false);
                    if alive {
                        return Err(translate(what, &e));
                    }
                    self.forget(&connect);
                    if !again {
                        return Err(Error::unavailable(format!(
                            "{what}: the connection to libvirt broke: {e}"
                        )));
                    }
                    tracing::warn!(uri = %self.uri, error = %e, "libvirt connection lost, reconnecting");
                    again = false;
                }
            }
        }
    }

    fn get(&self) -> Result<Connect> {
        if let Some(connect) = self.usable() {
            return Ok(connect);
        }
        let _opening = self.opening.lock();
        if let Some(connect) = self.usable() {
            return Ok(connect);
        }
        let fail = |e: VirtError| {
            Error::unavailable(format!("cannot connect to libvirt at {}: {}", self.uri, e.message()))
        };
        let connect = Connect::open(Some(&self.uri)).map_err(fail)?;
        // Drivers inside the client library (test:) have no keep-alive.
        if let Err(e) = connect.set_keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT) {
            tracing::debug!(error = %e, "no keep-alive on this libvirt connection");
        }
        let subscription = crate::events::subscribe(&connect, &self.sink).map_err(fail)?;
        *self.current.lock() = Some((connect.clone(), subscription));
        tracing::info!(uri = %self.uri, "connected to libvirt");
        self.sink.connected();
        Ok(connect)
    }

    fn usable(&self) -> Option<Connect> {
        let connect = self.current.lock().as_ref()?.0.clone();
        if connect.is_alive().unwrap_or(false) {
            return Some(connect);
        }
        self.forget(&connect);
        None
    }

    fn forget(&self, dead: &Connect) {
        // SAFETY: the pointers are only compared.
        let same = |(c, _): &mut (Connect, Subscription)| unsafe { c.as_ptr() == dead.as_ptr() };
        let gone = self.current.lock().take_if(same);
        if let Some((connect, subscription)) = gone {
            crate::events::unsubscribe(&connect, subscription);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((connect, subscription)) = self.current.get_mut().take() {
            crate::events::unsubscribe(&connect, subscription);
        }
    }
}

/// Whether libvirt says that there is no such domain or network.
pub fn is_missing(e: &VirtError) -> bool {
    let code = e.code();
    code.is(ErrorNumber::NoDomain)
        || code.is(ErrorNumber::NoNetwork)
        || code.is(ErrorNumber::NoDomainMetadata)
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
    Error::internal(text)
}

/// Time until the supervisor tries again to connect.
pub const RECONNECT: Duration = Duration::from_secs(1);
