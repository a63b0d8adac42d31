//! Domain events: libvirt's event loop on a thread, callbacks that only pass on which domain changed.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, broadcast};
use virt::connect::Connect;
use virt::error::Error as VirtError;
use virt::sys;

/// Where callbacks put what happened.
pub struct EventSink {
    /// UUIDs of domains whose life-cycle state changed.
    changed: broadcast::Sender<String>,
    /// The connection was lost.
    lost: Notify,
}

impl EventSink {
    /// An empty sink.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { changed: broadcast::Sender::new(1024), lost: Notify::new() })
    }

    /// UUIDs of changed domains from now on; one that lags must ask for everything.
    pub fn subscribe(&self) -> broadcast::Receiver<String> {
        self.changed.subscribe()
    }

    /// Waits until the connection that brings events is lost.
    pub async fn connection_lost(&self) {
        self.lost.notified().await;
    }
}

/// Starts libvirt's event loop, once in a process; must come before the first connection.
///
/// # Errors
/// libvirt's, or the system's if no thread can be started.
pub fn start_loop() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            // libvirt prints every error to stderr otherwise.
            virt::error::clear_error_callback();
            virt::event::event_register_default_impl().map_err(|e| e.to_string())?;
            std::thread::Builder::new()
                .name("libvirt-events".into())
                .spawn(|| {
                    loop {
                        if let Err(e) = virt::event::event_run_default_impl() {
                            tracing::error!(error = %e, "libvirt's event loop failed a round");
                            // Not to spin on a lasting error.
                            std::thread::sleep(std::time::Duration::from_secs(1));
                        }
                    }
                })
                .map(drop)
                .map_err(|e| format!("starting the libvirt event thread: {e}"))
        })
        .clone()
}

/// What [`subscribe`] registered.
#[derive(Clone, Copy, Debug)]
pub struct Subscription(c_int);

/// Registers for life-cycle events and the loss of `connect`.
///
/// # Errors
/// libvirt's.
pub fn subscribe(connect: &Connect, sink: &Arc<EventSink>) -> Result<Subscription, VirtError> {
    // SAFETY: virConnectDomainEventRegisterAny takes every callback under one generic type and calls it by the
    // event's own signature, which for LIFECYCLE is that of `on_lifecycle`. `opaque` is a strong count of the
    // sink that `free_sink` gives back when libvirt drops the registration.
    let registered = unsafe {
        let callback: unsafe extern "C" fn(
            sys::virConnectPtr,
            sys::virDomainPtr,
            c_int,
            c_int,
            *mut c_void,
        ) -> c_int = on_lifecycle;
        let generic = std::mem::transmute::<
            unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int,
            unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
        >(callback);
        sys::virConnectDomainEventRegisterAny(
            connect.as_ptr(),
            std::ptr::null_mut(),
            sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE as c_int,
            Some(generic),
            Arc::into_raw(sink.clone()).cast_mut().cast(),
            Some(free_sink),
        )
    };
    if registered < 0 {
        return Err(VirtError::last_error());
    }
    let subscription = Subscription(registered);
    // SAFETY: as above; the signature is virConnectCloseFunc's own.
    let registered = unsafe {
        sys::virConnectRegisterCloseCallback(
            connect.as_ptr(),
            Some(on_close),
            Arc::into_raw(sink.clone()).cast_mut().cast(),
            Some(free_sink),
        )
    };
    if registered < 0 {
        // Drivers without a daemon never close.
        tracing::debug!(error = %VirtError::last_error(), "no close callback on this libvirt connection");
    }
    Ok(subscription)
}

/// Gives back what [`subscribe`] registered: it would keep a lost connection in memory.
pub fn unsubscribe(connect: &Connect, subscription: Subscription) {
    // SAFETY: the pointer is valid while `connect` lives. libvirt removes both on its own side even where the daemon
    // is gone and an error is returned, which is of no interest.
    unsafe {
        let _ = sys::virConnectDomainEventDeregisterAny(connect.as_ptr(), subscription.0);
        let _ = sys::virConnectUnregisterCloseCallback(connect.as_ptr(), Some(on_close));
    }
}

unsafe extern "C" fn on_lifecycle(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    let mut text = [0 as c_char; sys::VIR_UUID_STRING_BUFLEN as usize];
    // SAFETY: `domain` is valid during the callback, `text` has the length that libvirt asks for, and `opaque` is
    // the sink's pointer, alive until `free_sink`. Getting the UUID is no call to the daemon.
    let (uuid, sink) = unsafe {
        if sys::virDomainGetUUIDString(domain, text.as_mut_ptr()) < 0 {
            return 0;
        }
        (CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned(), &*opaque.cast::<EventSink>())
    };
    // Nobody listening is no error.
    let _ = sink.changed.send(uuid);
    0
}

unsafe extern "C" fn on_close(_connect: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    // SAFETY: `opaque` is the sink's pointer, alive until `free_sink`.
    let sink = unsafe { &*opaque.cast::<EventSink>() };
    tracing::warn!(reason, "libvirt closed the connection");
    sink.lost.notify_one();
}

unsafe extern "C" fn free_sink(opaque: *mut c_void) {
    // SAFETY: the pointer came from Arc::into_raw and libvirt calls this once for each registration.
    drop(unsafe { Arc::from_raw(opaque.cast::<EventSink>().cast_const()) });
}
