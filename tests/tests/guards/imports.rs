//! The files of different folders of a crate do not import each other in a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Result, ensure};
use syn::visit::{self, Visit};

use crate::sources::{crate_folder, sources};

#[test]
fn folders_do_not_import_each_other_in_a_circle() -> Result<()> {
    for name in ["chat-core", "chat-sqlite"] {
        let folder = crate_folder(name);
        let mut files = Vec::new();
        for (path, source) in sources(name)? {
            files.push((path.strip_prefix(&folder)?.display().to_string(), source));
        }
        let modules = Modules::parse(&files)?;
        ensure!(modules.imports().len() > files.len(), "{name}: the imports are not found");
        let cycles = modules.cycles();
        ensure!(cycles.is_empty(), "{name}:\n{}", cycles.join("\n"));
    }
    Ok(())
}

#[test]
fn a_circle_between_folders_is_found() -> Result<()> {
    let lib = ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::One;\npub use b::Two;\npub use c::Three;");
    let a = ("a/mod.rs", "mod one;\npub use one::One;");
    let b = ("b/mod.rs", "mod two;\npub use two::Two;");
    let c = ("c.rs", "pub struct Three;");
    let cycles = |one: &str, two: &str, c: (&str, &str)| {
        let one = format!("{one} pub struct One;");
        let two = format!("{two} pub struct Two;");
        let files = [lib, a, b, c, ("a/one.rs", &*one), ("b/two.rs", &*two)];
        let files = files.map(|(path, source)| (path.to_owned(), source.to_owned()));
        anyhow::Ok(Modules::parse(&files)?.cycles())
    };
    let none: [String; 0] = [];
    let circle = ["a/one.rs -> b/two.rs -> a/one.rs"];

    assert_eq!(cycles("use crate::Two;", "", c)?, none);
    assert_eq!(cycles("use crate::{Two, Three};", "use crate::c::Three;", c)?, none);
    for (one, two) in [
        ("use crate::Two;", "use crate::One;"),
        ("use crate::b::Two;", "use crate::a::One;"),
        ("use super::super::b::Two;", "fn f(_: crate::One) {}"),
        ("use crate::b; fn f(_: b::Two) {}", "use crate::{a::{One}};"),
        ("use crate::b::*;", "use crate::One as Renamed;"),
    ] {
        // A glob is an import of the module that it names.
        let circle = if one.contains('*') {
            vec!["a/one.rs -> b/mod.rs -> b/two.rs -> a/one.rs".to_owned()]
        } else {
            circle.map(str::to_owned).to_vec()
        };
        assert_eq!(cycles(one, two, c)?, circle, "{one} {two}");
    }
    // A longer circle, and uses that belong to tests or to other crates.
    assert_eq!(
        cycles("use crate::Two;", "use crate::Three;", ("c.rs", "use crate::One; pub struct Three;"))?,
        ["a/one.rs -> b/two.rs -> c.rs -> a/one.rs"]
    );
    assert_eq!(cycles("use crate::Two;", "#[cfg(test)] mod tests { use crate::One; }", c)?, none);
    assert_eq!(cycles("use crate::Two;", "use other::One; use std::fmt;", c)?, none);
    Ok(())
}

/// The path of a module or of an item, from the root of the crate.
type ItemPath = Vec<String>;

/// The modules of a crate, by path.
struct Modules(BTreeMap<ItemPath, Module>);

struct Module {
    file: String,
    names: Names,
}

impl Modules {
    /// Parses files. Their paths are relative to the root of the crate.
    fn parse(files: &[(String, String)]) -> Result<Self> {
        let mut modules = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (file, source) in files {
            let mut names = Names::default();
            names.visit_file(&syn::parse_str(source)?);
            let path = module_path(file);
            tests.extend(names.test_modules.iter().map(|name| joined(&path, name)));
            modules.insert(path, Module { file: file.clone(), names });
        }
        modules.retain(|path, _| !tests.contains(path));
        Ok(Self(modules))
    }

    /// Returns the pairs of files in which the first imports an item that the second defines.
    fn imports(&self) -> BTreeSet<(&str, &str)> {
        let mut imports = BTreeSet::new();
        for (path, module) in &self.0 {
            let own = module.names.uses.iter().filter(|used| !used.is_reexport);
            let globs = module.names.globs.iter().filter_map(|glob| self.absolute(path, glob));
            let globs = globs.filter_map(|glob| Some(self.0.get(&glob)?.file.as_str()));
            let paths = own.map(|used| &used.path).chain(&module.names.paths);
            let items = paths.filter_map(|item| self.file(&self.absolute(path, item)?, 0));
            imports
                .extend(globs.chain(items).filter(|file| *file != module.file).map(|to| (&*module.file, to)));
            // A glob also reaches what its module exports from elsewhere.
            for glob in module.names.globs.iter().filter_map(|glob| self.absolute(path, glob)) {
                if let Some(exporter) = self.0.get(&glob) {
                    let exported = exporter.names.uses.iter().filter(|used| used.is_reexport);
                    let exported =
                        exported.filter_map(|used| self.file(&self.absolute(&glob, &used.path)?, 0));
                    imports.extend(exported.map(|to| (&*exporter.file, to)));
                }
            }
        }
        imports
    }

    /// Returns a description of the shortest circle through each import of another folder, each circle once.
    fn cycles(&self) -> Vec<String> {
        let imports = self.imports();
        let mut found = BTreeMap::new();
        for (from, to) in imports.iter().filter(|(from, to)| folder(from) != folder(to)) {
            if let Some(back) = shortest_path(&imports, to, from) {
                let mut files = back.clone();
                files.sort_unstable();
                let circle = [vec![*from], back].concat().join(" -> ");
                found.entry(files).or_insert(circle);
            }
        }
        found.into_values().collect()
    }

    /// Returns the path from the root, for a path that is written in a module. `None` if it leads out of the crate.
    fn absolute(&self, module: &ItemPath, written: &[String]) -> Option<ItemPath> {
        let (first, rest) = written.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let parents = written.iter().take_while(|name| *name == "super").count();
                let base = &module[..module.len().checked_sub(parents)?];
                Some([base, &written[parents..]].concat())
            }
            name if self.0.contains_key(&joined(module, name)) => Some([module, written].concat()),
            name => {
                let used = self.0.get(module)?.names.uses.iter().find(|used| used.name == name)?;
                // A name that is imported from another crate has the same first segment again.
                let is_local = used.path != written && used.path[0] != *first;
                let base = is_local.then(|| self.absolute(module, &used.path))??;
                Some([base, rest.to_vec()].concat())
            }
        }
    }

    /// Returns the file that defines an item, found through the `use` lines of the modules on the way.
    fn file(&self, item: &[String], depth: usize) -> Option<&str> {
        if depth > 16 {
            return None;
        }
        let modules = (0..=item.len()).rev().find(|length| self.0.contains_key(&item[..*length]))?;
        let (module, rest) = (item[..modules].to_vec(), &item[modules..]);
        let name = rest.first()?;
        let Module { file, names } = &self.0[&module];
        if names.defined.contains(name) {
            return Some(file);
        }
        if let Some(used) = names.uses.iter().find(|used| used.name == *name) {
            let target = self.absolute(&module, &used.path)?;
            return self.file(&[target, rest[1..].to_vec()].concat(), depth + 1);
        }
        let globs = names.globs.iter().filter_map(|glob| self.absolute(&module, glob));
        globs.map(|glob| [glob, rest.to_vec()].concat()).find_map(|item| self.file(&item, depth + 1))
    }
}

/// Returns the shortest path of imports between two files, with both.
fn shortest_path<'a>(
    imports: &BTreeSet<(&'a str, &'a str)>,
    from: &'a str,
    to: &str,
) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::from([from]);
    let mut paths = VecDeque::from([vec![from]]);
    while let Some(path) = paths.pop_front() {
        let last = *path.last()?;
        if last == to {
            return Some(path);
        }
        for (_, next) in imports.iter().filter(|(importer, _)| *importer == last) {
            if seen.insert(next) {
                paths.push_back([&path[..], &[*next]].concat());
            }
        }
    }
    None
}

fn folder(file: &str) -> &Path {
    Path::new(file).parent().unwrap_or(Path::new(""))
}

/// Returns the path of the module in a file such as `room/mod.rs`.
fn module_path(file: &str) -> ItemPath {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

fn joined(path: &[String], name: &str) -> ItemPath {
    [path, &[name.to_owned()]].concat()
}

/// The names that a file defines, imports and uses.
#[derive(Default)]
struct Names {
    defined: BTreeSet<String>,
    uses: Vec<Used>,
    globs: Vec<ItemPath>,
    /// The paths in types and expressions, as they are written.
    paths: Vec<ItemPath>,
    /// The modules that exist only in tests.
    test_modules: Vec<String>,
}

/// A name that a `use` line makes.
struct Used {
    name: String,
    path: ItemPath,
    is_reexport: bool,
}

impl Names {
    fn add_use(&mut self, tree: &syn::UseTree, path: &[String], is_reexport: bool) {
        match tree {
            syn::UseTree::Path(tree) => {
                self.add_use(&tree.tree, &joined(path, &tree.ident.to_string()), is_reexport);
            }
            syn::UseTree::Name(tree) => self.add_name(path, &tree.ident.to_string(), None, is_reexport),
            syn::UseTree::Rename(tree) => {
                self.add_name(path, &tree.ident.to_string(), Some(tree.rename.to_string()), is_reexport);
            }
            syn::UseTree::Glob(_) => self.globs.push(path.to_vec()),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, path, is_reexport);
                }
            }
        }
    }

    fn add_name(&mut self, path: &[String], name: &str, renamed: Option<String>, is_reexport: bool) {
        let path = if name == "self" { path.to_vec() } else { joined(path, name) };
        let name = renamed.or_else(|| path.last().cloned()).unwrap_or_default();
        self.uses.push(Used { name, path, is_reexport });
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Const(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Fn(item) => &item.sig.ident,
            syn::Item::Static(item) => &item.ident,
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Type(item) => &item.ident,
            _ => return visit::visit_item(self, item),
        };
        self.defined.insert(name.to_string());
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            self.test_modules.push(module.ident.to_string());
        } else {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
        self.add_use(&item.tree, &[], is_reexport);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}
