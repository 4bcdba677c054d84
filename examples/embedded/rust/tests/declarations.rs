//! Holds src/c.rs to edgeadapt.h. A C compiler is the judge: it gets every declaration of Rust's once more, beside the
//! header's own, and prints what the header's types and constants come to.

use std::collections::BTreeSet;
use std::mem::{size_of, MaybeUninit};
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use edgeadapt::c::*;

const RUST: &str = include_str!("../src/c.rs");
const HEADER: &str = include_str!("../../../../embed/c/edgeadapt.h");

/// A Rust type in C, with the constness of what it points to.
fn c_type(rust: &str) -> String {
    if let Some(behind) = rust.strip_prefix("*const ") {
        return format!("{} const *", c_type(behind));
    }
    if let Some(behind) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(behind));
    }
    match rust {
        "c_char" => "char",
        "c_int" => "int",
        "c_void" => "void",
        "usize" => "size_t",
        "i64" => "int64_t",
        other => other,
    }
    .to_owned()
}

/// `pub fn name(a: A, b: B) -> C;` as `C name(A, B);`.
fn prototype(line: &str) -> String {
    let (name, rest) = line.split_once('(').expect("a list of arguments");
    let (arguments, answer) = rest.trim_end_matches(';').split_once(')').expect("the end of the arguments");
    let answer = answer.strip_prefix(" -> ").map_or("void".to_owned(), c_type);
    let types: Vec<String> =
        arguments.split(", ").filter_map(|each| each.split_once(": ")).map(|(_, rust)| c_type(rust)).collect();
    let types = if types.is_empty() { "void".to_owned() } else { types.join(", ") };
    format!("{} {}({});", answer, name, types)
}

/// What follows `start` in the lines of src/c.rs that begin with it.
fn declared(start: &'static str) -> impl Iterator<Item = &'static str> {
    RUST.lines().filter_map(move |line| line.trim().strip_prefix(start))
}

fn names_of(start: &'static str, end: char) -> BTreeSet<&'static str> {
    declared(start).map(|line| line.split(end).next().unwrap_or_default()).collect()
}

fn cc() -> Command {
    Command::new(env::var("CC").unwrap_or_else(|_| "cc".to_owned()))
}

/// Compiles a program that includes the header, and gives what it prints. `name` is a file of its own.
fn printed(name: &str, source: &str) -> String {
    let folder = PathBuf::from(env::var("EDGEADAPT_TESTS").unwrap_or_else(|_| env::temp_dir().display().to_string()));
    let program = folder.join(format!("{}-{}", name, std::process::id()));
    let path = program.with_extension("c");
    fs::write(&path, format!("#include \"edgeadapt.h\"\n#include <stdio.h>\n{}", source)).unwrap();
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/../../../embed/c");
    let done = cc().args(["-std=c11", "-Werror", include, "-o"]).arg(&program).arg(&path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done = Command::new(&program).output().unwrap();
    assert!(done.status.success());
    fs::remove_file(&path).and(fs::remove_file(&program)).unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn every_function_is_the_headers() {
    let ours: Vec<String> = declared("pub fn ").map(prototype).collect();
    // A function that is declared twice with other types is an error in C.
    printed("functions", &format!("{}\nint main(void) {{ return 0; }}\n", ours.join("\n")));
    let header: BTreeSet<&str> = HEADER
        .split("EA_API ")
        .skip(1)
        .filter_map(|rest| rest.split_once('('))
        .filter_map(|(before, _)| before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next())
        .filter(|name| name.starts_with("ea_"))
        .collect();
    assert_eq!(names_of("pub fn ", '('), header);
}

#[test]
fn every_constant_is_the_headers() {
    let names: Vec<&str> = declared("pub const ").filter_map(|line| line.split(':').next()).collect();
    let prints: Vec<String> = names.iter().map(|name| format!("printf(\"%lld,\", (long long){});", name)).collect();
    let values = printed("constants", &format!("int main(void) {{ {} return 0; }}\n", prints.join("\n")));
    let ours: Vec<&str> = declared("pub const ")
        .filter_map(|line| line.split(" = ").nth(1))
        .map(|value| value.trim_end_matches(';'))
        .collect();
    assert_eq!(ours.join(",") + ",", values);
    let enums = HEADER.split("typedef enum").skip(1).filter_map(|rest| rest.split('}').next());
    let header: BTreeSet<&str> = enums
        .flat_map(|body| body.lines())
        .filter_map(|line| line.trim().split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next())
        .filter(|name| name.starts_with("EA_"))
        .collect();
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), header);
}

/// The size of a struct, and the offset and size of every field, as `ea_error 2052`, `ea_error.status 0 4`.
macro_rules! layout {
    ($name:ident { $($field:ident),* }) => {{
        fn size<T>(_: *const T) -> usize {
            size_of::<T>()
        }
        let any = MaybeUninit::<$name>::uninit();
        let start = any.as_ptr();
        let mut lines = vec![format!("{} {}", stringify!($name), size_of::<$name>())];
        $(
            // Nothing is read: only where it would lie.
            let field = unsafe { std::ptr::addr_of!((*start).$field) };
            let offset = field as usize - start as usize;
            lines.push(format!("{}.{} {} {}", stringify!($name), stringify!($field), offset, size(field)));
        )*
        lines
    }};
}

#[test]
fn every_struct_lies_as_in_c() {
    let ours = [
        layout!(ea_error { status, message }),
        layout!(ea_array { name, dtype, rank, shape, data, bytes }),
        layout!(ea_options { size, onnxruntime, threads, verify }),
        layout!(ea_tokens { count, ids, type_ids }),
    ]
    .concat();
    let structs: BTreeSet<&str> = ours.iter().filter_map(|line| line.split(['.', ' ']).next()).collect();
    assert_eq!(structs, names_of("pub struct ", ' '));
    let prints: Vec<String> = ours
        .iter()
        .filter_map(|line| line.split(' ').next())
        .map(|what| match what.split_once('.') {
            None => format!("printf(\"{0} %zu\\n\", sizeof({0}));", what),
            Some((name, field)) => {
                format!("printf(\"{0}.{1} %zu %zu\\n\", offsetof({0}, {1}), sizeof((({0} *)0)->{1}));", name, field)
            }
        })
        .collect();
    let theirs = printed("structs", &format!("int main(void) {{ {} return 0; }}\n", prints.join("\n")));
    assert_eq!(ours.join("\n") + "\n", theirs);
}

#[test]
fn every_enum_has_the_size_of_its_integer() {
    let names = names_of("pub type ", ' ');
    let prints: Vec<String> = names.iter().map(|name| format!("printf(\"%zu \", sizeof({}));", name)).collect();
    let sizes = printed("enums", &format!("int main(void) {{ {} return 0; }}\n", prints.join("\n")));
    let ours = [size_of::<ea_dtype>(), size_of::<ea_status>(), size_of::<ea_verify>()];
    assert_eq!(sizes, ours.map(|size| format!("{} ", size)).concat());
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["ea_dtype", "ea_status", "ea_verify"]);
}
