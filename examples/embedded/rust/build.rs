//! Says where `make -C embed/c` puts the C library, or where EDGEADAPT_LIBRARY says that libedgeadapt.a lies.

fn main() {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../build/embed/c");
    let folder = std::env::var("EDGEADAPT_LIBRARY").unwrap_or_else(|_| built.to_owned());
    println!("cargo:rerun-if-env-changed=EDGEADAPT_LIBRARY");
    println!("cargo:rerun-if-changed={}/libedgeadapt.a", folder);
    println!("cargo:rustc-link-search=native={}", folder);
}
