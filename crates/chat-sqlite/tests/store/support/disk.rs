//! A small file system for one test. Mounting needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system, unmounted on drop.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts a file system in memory.
    pub(crate) fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir(path).expect("a directory");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path));
        Self(path.to_owned())
    }

    /// Mounts a file system on a loop device, which can be frozen and aborted.
    pub(crate) fn on_a_device(path: &Path) -> Self {
        let image = path.with_extension("image");
        fs::File::create(&image).and_then(|image| image.set_len(32 * 1024 * 1024)).expect("an image");
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        fs::create_dir(path).expect("a directory");
        run(Command::new("mount").args(["-o", "loop"]).args([&image, path]));
        Self(path.to_owned())
    }

    /// Blocks all writes until [`thaw`](Self::thaw).
    pub(crate) fn freeze(&self) {
        run(Command::new("fsfreeze").arg("-f").arg(&self.0));
    }

    pub(crate) fn thaw(&self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.0));
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Changes a mount option: `ro`, `rw`, `size=...`.
    pub(crate) fn remount(&self, option: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _thawed = Command::new("fsfreeze").arg("-u").arg(&self.0).output();
        // Lazy, because after a failed test a store may still be open.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("a command");
    assert!(output.status.success(), "{command:?} (mounting needs root): {output:?}");
}
