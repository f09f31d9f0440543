use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// A small file system in memory, for one test. Mounting it needs root. It is unmounted when it is dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts a disk of a size such as `2m`.
    pub fn mount(path: PathBuf, size: &str) -> Result<Self> {
        fs::create_dir(&path)?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path))?;
        Ok(Self(path))
    }

    /// Returns the path of its root.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the disk read-only.
    pub fn make_read_only(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0))
    }

    /// Fills the disk until [`free`](Self::free) is called.
    pub fn fill(&self) -> Result<()> {
        let mut filler = fs::File::create(self.filler())?;
        loop {
            match filler.write(&[0; 4_096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes what [`fill`](Self::fill) has written.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The unmount is lazy, because a server of a failed test may still use the disk.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?} (mounting needs root): {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
