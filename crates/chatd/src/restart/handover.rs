//! The way of a listening socket from one process to the next, through a Unix socket.

use std::fs::{self, Permissions};
use std::future::pending;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::geteuid;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

/// Time for each step of the other process.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after an error of an offer, for example without a free descriptor.
const ERROR_PAUSE: Duration = Duration::from_millis(500);

/// The byte that carries the socket, and the one that confirms it.
const BYTE: [u8; 1] = *b"1";

/// The socket of this process, on offer to the next one.
#[derive(Debug)]
pub(crate) struct Handover(Option<Offer>);

#[derive(Debug)]
struct Offer {
    clients: UnixListener,
    /// A second descriptor of the listening socket.
    socket: OwnedFd,
    /// The name of the Unix socket until the offer is made.
    unfinished: Option<PathBuf>,
    file: PathBuf,
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            // It may be gone.
            let _ignored = fs::remove_file(unfinished);
        }
    }
}

/// A previous process that has sent its listening socket, and waits until this one confirms it. It serves on if this is
/// dropped.
#[derive(Debug)]
pub(crate) struct Previous(UnixStream);

/// Asks the process that offers its listening socket in a file for it. Returns `None` if there is none.
pub(super) fn receive(file: &Path) -> io::Result<Option<(net::TcpListener, Previous)>> {
    let stream = match UnixStream::connect(file) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The file is left over, or it is no socket. Only a left-over one may be replaced.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let is_socket = fs::symlink_metadata(file)?.file_type().is_socket();
            return if is_socket { Ok(None) } else { Err(io::Error::other("the file is no socket")) };
        }
        Err(error) => return Err(error),
    };
    let owner = socket_peercred(&stream)?.uid;
    if owner != geteuid() {
        return Err(io::Error::other(format!("user {} has it", owner.as_raw())));
    }
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    let socket = receive_socket(&stream)?;
    Ok(Some((socket.into(), Previous(stream))))
}

impl Previous {
    /// Confirms the socket. From then on, the other process accepts no connection and drains.
    pub(crate) fn confirm(mut self) -> io::Result<()> {
        self.0.write_all(&BYTE)
    }
}

impl Handover {
    /// Returns an offer that no process takes.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Prepares the offer of a listening socket.
    pub(super) fn prepare(file: &Path, listener: &TcpListener) -> io::Result<Self> {
        let unfinished = with_suffix(file, &format!(".{}", process::id()));
        let clients = UnixListener::bind(&unfinished)?;
        let socket = listener.as_fd().try_clone_to_owned()?;
        let offer = Offer { clients, socket, unfinished: Some(unfinished), file: file.to_owned() };
        fs::set_permissions(offer.unfinished.as_deref().unwrap_or(file), Permissions::from_mode(0o600))?;
        Ok(Self(Some(offer)))
    }

    /// Makes the offer, in place of a previous process. Without it, this process still serves.
    pub(crate) fn publish(&mut self) {
        let Some(offer) = &mut self.0 else { return };
        if let Some(unfinished) = offer.unfinished.take()
            && let Err(error) = fs::rename(&unfinished, &offer.file)
        {
            warn!(%error, "no next server can take the listening socket over");
        }
    }

    /// Waits until another process has taken the socket over.
    pub(crate) async fn taken(&self) {
        let Some(offer) = &self.0 else { return pending().await };
        loop {
            match offer.give().await {
                Ok(process) => {
                    info!(process, "listening socket handed over");
                    return;
                }
                Err(error) => {
                    warn!(%error, "listening socket not handed over");
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    }
}

impl Offer {
    /// Gives the socket to the next process that asks for it. Returns its id.
    async fn give(&self) -> io::Result<Option<i32>> {
        let (stream, _) = self.clients.accept().await?;
        let peer = stream.peer_cred()?;
        if peer.uid() != geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("user {} asked", peer.uid()),
            ));
        }
        let (stream, socket) = (stream.into_std()?, self.socket.try_clone()?);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STEP_TIMEOUT))?;
        stream.set_write_timeout(Some(STEP_TIMEOUT))?;
        spawn_blocking(move || send(&stream, &socket)).await.map_err(io::Error::other)??;
        Ok(peer.pid())
    }
}

/// Sends a socket and waits until the other process confirms it.
fn send(mut stream: &UnixStream, socket: &OwnedFd) -> io::Result<()> {
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no space for the socket"));
    }
    sendmsg(stream, &[IoSlice::new(&BYTE)], &mut ancillary, SendFlags::empty())?;
    stream.read_exact(&mut [0])
}

fn receive_socket(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    recvmsg(stream, &mut slices, &mut ancillary, RecvFlags::empty())?;
    let mut sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let socket = sockets.next().and_then(|mut sockets| sockets.next());
    let socket = socket
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the other server sent no socket"))?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
