//! Stamps the binary with the commit it was built from, for `run.json`.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("--no-optional-locks").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|status| !status.is_empty());
    println!("cargo:rustc-env=POQ_GIT_COMMIT={commit}");
    println!("cargo:rustc-env=POQ_GIT_DIRTY={dirty}");
    println!("cargo:rerun-if-changed=src");
    // Every commit and checkout moves it. The index would move too often: reading the status above refreshes it.
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
}
