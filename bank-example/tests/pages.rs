//! The pages of the project: the sizes that they state, their own length, and their links.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const BANK: &str = include_str!("../README.md");
const PROJECT: &str = include_str!("../../README.md");
const MAP: &str = include_str!("../../ARCHITECTURE.md");

/// A row of the table of sizes in the bank's README: files, and the number of lines that they stay below.
struct Part {
    files: Vec<&'static str>,
    limit: usize,
}

#[test]
fn every_part_of_the_bank_is_as_short_as_its_readme_says() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let parts = parts_of_the_bank();
    assert_eq!(parts.len(), 3, "the README has the table of sizes");
    for Part { files, limit } in parts {
        let lines: usize = files
            .iter()
            .map(|file| lines_of_code(&source.join(file)))
            .sum();
        assert!(
            lines < limit,
            "{files:?} have {lines} lines; the README says fewer than {limit}"
        );
    }
}

#[test]
fn the_readme_of_the_project_gives_the_same_sizes() {
    for part in parts_of_the_bank().iter().take(2) {
        let size = format!("under {}", part.limit);
        assert!(PROJECT.contains(&size), "README.md lacks {size:?}");
    }
}

#[test]
fn the_first_pages_stay_short() {
    for (page, text, limit) in [("README.md", PROJECT, 140), ("ARCHITECTURE.md", MAP, 200)] {
        let lines = text.lines().count();
        assert!(
            lines <= limit,
            "{page} has {lines} lines; move what is more than {limit} to a page of its own"
        );
    }
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = pages_below(&root);
    assert!(pages.len() > 15, "pages were found: {pages:?}");
    let broken: Vec<_> = pages.iter().flat_map(|page| broken_links(page)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.md");
    let text = "# One `word`, two\n[a](#one-word-two) [b](#three) [c](none.md) [d](page.md#one-word-two)\n\
                ```text\n[e](none.md)\n```\n[f](https://example.org)\n";
    fs::write(&page, text).expect("it is written");
    let broken = broken_links(&page);
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(broken[0].ends_with("#three") && broken[1].ends_with("none.md"));
}

fn parts_of_the_bank() -> Vec<Part> {
    BANK.lines().filter_map(part).collect()
}

fn part(line: &'static str) -> Option<Part> {
    let mut columns = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let files = columns.nth(1)?;
    let limit = columns.next()?.parse().ok()?;
    let files = files
        .split(' ')
        .map(|file| file.trim_matches('`'))
        .collect();
    Some(Part { files, limit })
}

fn lines_of_code(file: &Path) -> usize {
    read(file)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

/// Returns the pages in `root`, and in its folders and theirs: READMEs and documentation lie no deeper.
fn pages_below(root: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_built = path.ends_with("target") || path.ends_with(".git");
            if path.is_dir() && depth < 2 && !is_built {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

fn broken_links(page: &Path) -> Vec<String> {
    let text = read(page);
    let prose: Vec<_> = outside_of_code(&text).collect();
    prose
        .iter()
        .flat_map(|line| targets(line))
        .filter(|target| !target.contains("://") && !leads_somewhere(page, target))
        .map(|target| format!("{}: {target}", page.display()))
        .collect()
}

/// Returns the targets of the links `[text](target)` in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

fn leads_somewhere(page: &Path, target: &str) -> bool {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => page.to_owned(),
        _ => page.parent().expect("a page is in a folder").join(file),
    };
    file.exists() && (heading.is_empty() || anchors(&read(&file)).contains(heading))
}

/// Returns the names that GitHub gives to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    outside_of_code(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|&c| c.is_alphanumeric() || " -_".contains(c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn outside_of_code(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a text")
}
