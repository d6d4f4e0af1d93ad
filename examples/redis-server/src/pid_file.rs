//! The file that says which process the server is.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The file, removed with this value.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// What it said before, perhaps of a server that still runs.
    earlier: Option<Vec<u8>>,
    is_kept: bool,
}

impl PidFile {
    /// Writes it, before the server can be reached: whoever reaches it finds the file.
    pub(crate) fn write(path: PathBuf) -> io::Result<Self> {
        let earlier = fs::read(&path).ok();
        fs::write(&path, format!("{}\n", std::process::id()))?;
        Ok(PidFile { path, earlier, is_kept: false })
    }

    /// The server didn't start: the file says again what it said before.
    pub(crate) fn put_back(mut self) {
        if let Some(earlier) = self.earlier.take() {
            self.is_kept = fs::write(&self.path, earlier).is_ok();
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // It may be gone already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_leaves_the_file_as_it_was() {
        let path = std::env::temp_dir().join(format!("kevy-pid-file-{}", std::process::id()));
        let file = PidFile::write(path.clone()).expect("write it");
        let own = fs::read_to_string(&path).expect("read it");
        assert_eq!(own, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());

        PidFile::write(path.clone()).expect("write it").put_back();
        assert!(!path.exists());

        fs::write(&path, "7\n").expect("write it");
        PidFile::write(path.clone()).expect("write it").put_back();
        assert_eq!(fs::read_to_string(&path).expect("read it"), "7\n");
        fs::remove_file(&path).expect("remove it");
    }
}
