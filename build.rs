//! Stamps the binary with the commit it was built from, for `run.json`.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|status| !status.is_empty());
    println!("cargo:rustc-env=POQ_GIT_COMMIT={commit}");
    println!("cargo:rustc-env=POQ_GIT_DIRTY={dirty}");
    println!("cargo:rerun-if-changed=src");
    // A commit moves the first, staging the second; together they say when the stamp is stale.
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    println!("cargo:rerun-if-changed=.git/index");
}
