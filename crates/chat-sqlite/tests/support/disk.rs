//! A small disk of its own for a test. Needs root, as a container that runs tests has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system, unmounted at the end.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// One in memory.
    pub(crate) fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir(path).expect("a directory");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path));
        Self(path.to_owned())
    }

    /// One on a block device, which can be frozen, and break.
    pub(crate) fn on_a_device(path: &Path) -> Self {
        let image = path.with_extension("image");
        fs::File::create(&image).and_then(|image| image.set_len(32 * 1024 * 1024)).expect("an image");
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        fs::create_dir(path).expect("a directory");
        run(Command::new("mount").args(["-o", "loop"]).args([&image, path]));
        Self(path.to_owned())
    }

    /// Takes no writes, and does not refuse them either, until it is thawed.
    pub(crate) fn freeze(&self) {
        run(Command::new("fsfreeze").arg("-f").arg(&self.0));
    }

    pub(crate) fn thaw(&self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.0));
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Changes how it is mounted: `ro`, `rw`, `size=...`.
    pub(crate) fn remount(&self, option: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _thawed = Command::new("fsfreeze").arg("-u").arg(&self.0).output();
        // Lazily: a store that a failing test left open is still on it.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("a command");
    assert!(output.status.success(), "{command:?} (mounting needs root): {output:?}");
}
