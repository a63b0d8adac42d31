//! The metadata service's socket, in the network namespace where guests are.

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// Listens at `address:port`, which need not be there yet, in `netns` if given.
///
/// # Errors
/// The system's.
pub fn listen(address: Ipv4Addr, port: u16, netns: Option<&Path>) -> io::Result<TcpListener> {
    let Some(netns) = netns else { return bind(address, port) };
    let namespace = File::open(netns)?;
    // A socket stays in the namespace it was made in; only a thread that ends at once enters it.
    std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        bind(address, port)
    })
    .join()
    .map_err(|_| io::Error::other("the thread in the network namespace ended abnormally"))?
}

fn bind(address: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&socket, sockopt::IpFreebind, &true)?;
    let [a, b, c, d] = address.octets();
    socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::new(a, b, c, d, port))?;
    socket::listen(&socket, Backlog::new(128)?)?;
    Ok(TcpListener::from(socket))
}
