//! The rules of language and layout that can be measured, over every crate and page of the repository.
//!
//! The rules: doc blocks begin with a verb or a noun and not with a question word; a few words that only this project
//! used stay away; every sentence names its subject; one `let` binds one name. Each rule is
//! shown to fail on a planted example.
#![allow(clippy::unwrap_used)]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: &[&str] = &[
    "bank-example",
    "benchmarks",
    "eventsourcing",
    "eventsourcing-archive",
    "eventsourcing-core",
    "eventsourcing-derive",
    "eventsourcing-postgres",
    "eventsourcing-schema",
    "eventsourcing-sqlite",
    "eventsourcing-testing",
];

/// Doc blocks that may begin with a question word, in a hundred.
const OPENINGS_IN_100: usize = 2;

/// Pronouns without a person behind them that docs may have, in 5,000 words: 0.2 in 1,000.
const PRONOUNS_IN_5000: usize = 1;

const OPENINGS: [&str; 11] = [
    "What", "Whether", "Which", "Who", "How", "Where", "Why", "Under", "Of", "As", "Those",
];

/// The parts of the forbidden words, so that this file does not hold them itself.
const PHRASES: [(&str, &str); 9] = [
    ("dea", "l with"),
    ("dea", "ls with"),
    ("deali", "ng with"),
    ("deal", "t"),
    ("men", "d"),
    ("men", "ds"),
    ("men", "ded"),
    ("men", "ding"),
    ("s", "o many at most"),
];

const PRONOUNS: [(&str, &str); 3] = [("who", "ever"), ("no", "body"), ("some", "body")];

/// A place in a file that breaks a rule.
struct Place {
    file: PathBuf,
    line: usize,
    text: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// A file with its text.
struct Source {
    file: PathBuf,
    text: String,
}

impl Source {
    fn planted(text: &str) -> Self {
        Self {
            file: PathBuf::from("planted.rs"),
            text: text.to_owned(),
        }
    }

    fn is_rust(&self) -> bool {
        self.file
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    fn place(&self, line: usize, text: &str) -> Place {
        Place {
            file: self.file.clone(),
            line,
            text: text.trim().to_owned(),
        }
    }

    /// The lines of documentation with their numbers: doc comments of Rust, everything in Markdown. Code in fences is left out.
    fn documentation(&self) -> Vec<(usize, &str)> {
        let mut fenced = false;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            let doc = if self.is_rust() {
                let line = line.trim_start();
                line.strip_prefix("///")
                    .or_else(|| line.strip_prefix("//!"))
            } else {
                Some(line)
            };
            let Some(doc) = doc else {
                fenced = false;
                continue;
            };
            if doc.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                lines.push((number, doc.trim()));
            }
        }
        lines
    }

    /// The first lines of the blocks of doc comments.
    fn openings(&self) -> Vec<(usize, &str)> {
        let lines = self.documentation();
        let mut before = None;
        let mut openings = Vec::new();
        for (number, line) in lines {
            if before.is_none_or(|before| number != before + 1) {
                openings.push((number, line));
            }
            before = Some(number);
        }
        openings
    }

    fn words(&self) -> usize {
        self.documentation()
            .iter()
            .map(|(_, line)| words(line).count())
            .sum()
    }

    fn pronouns(&self) -> Vec<Place> {
        let is_pronoun = |word: &str| {
            PRONOUNS
                .iter()
                .any(|(start, end)| word.eq_ignore_ascii_case(&format!("{start}{end}")))
        };
        self.documentation()
            .into_iter()
            .filter(|(_, line)| words(line).any(is_pronoun))
            .map(|(number, line)| self.place(number, line))
            .collect()
    }

    /// Forbidden phrases anywhere: in docs, comments, messages, pages and names of tests, also across the end of a line.
    fn phrases(&self) -> Vec<Place> {
        let markers = ['/', '!', '*', '#', '-', ' ', '\t', '>'];
        let mut before = String::new();
        let mut places = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            let bare = line
                .trim_start_matches(markers)
                .trim_end_matches(['\\', ' ']);
            let bare = words(&bare.replace('_', " "))
                .collect::<Vec<_>>()
                .join(" ")
                .to_lowercase();
            let two_lines = format!(" {before} {bare} ");
            let starts_here = two_lines.len() - bare.len() - 2;
            let ends_here = |phrase: &str| {
                two_lines
                    .match_indices(&format!(" {phrase} "))
                    .any(|(at, _)| at + phrase.len() + 1 > starts_here)
            };
            if PHRASES
                .iter()
                .any(|(start, end)| ends_here(&format!("{start}{end}")))
            {
                places.push(self.place(number, line));
            }
            before = bare;
        }
        places
    }

    /// Bindings of several names to a tuple that is written out: `let` with a tuple on both sides.
    fn bindings_by_pairs(&self) -> Vec<Place> {
        let starts = self.text.match_indices("let (");
        let pairs = starts.filter(|(at, found)| binds_a_pair(&self.text[at + found.len() - 1..]));
        let line_of = |at: usize| self.text[..at].matches('\n').count();
        let lines = pairs.map(|(at, _)| line_of(at));
        lines
            .map(|number| {
                self.place(
                    number + 1,
                    self.text.lines().nth(number).unwrap_or_default(),
                )
            })
            .collect()
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
}

/// Returns `true` for a tuple, an optional type, and `= (…);` with a tuple in the parentheses.
fn binds_a_pair(text: &str) -> bool {
    let Some((pattern, rest)) = tuple(text) else {
        return false;
    };
    let Some((_, value)) = rest.split_once('=') else {
        return false;
    };
    let value = value.trim_start();
    let Some((values, rest)) = tuple(value) else {
        return false;
    };
    pattern.contains(',') && values.contains(',') && rest.trim_start().starts_with(';')
}

/// Splits the parentheses that `text` begins with from the rest. Strings and characters are stepped over.
fn tuple(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    let mut in_string = false;
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        let is_escaped = before == '\\';
        let is_quoted = before == '\'' && text[at + char.len_utf8()..].starts_with('\'');
        match char {
            '"' if !is_escaped && !is_quoted => in_string = !in_string,
            '(' | '[' | '{' if !in_string && !is_quoted => depth += 1,
            ')' | ']' | '}' if !in_string && !is_quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.starts_with('(').then(|| text.split_at(at + 1));
        }
        before = if is_escaped { ' ' } else { char };
    }
    None
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file below `folder` that has one of these extensions, but for built things and the programs that must not compile.
fn sources(folder: &Path, extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.')
                && !["target", "ui", "golden", "migrations"].contains(&name.as_str())
            {
                found.extend(sources(&path, extensions));
            }
        } else if path
            .extension()
            .is_some_and(|own| extensions.iter().any(|extension| own == *extension))
        {
            let text = fs::read_to_string(&path).unwrap();
            found.push(Source { file: path, text });
        }
    }
    found
}

/// The files of Markdown beside the crates and in `docs`.
fn pages() -> Vec<Source> {
    let root = root();
    let mut pages = sources(&root.join("docs"), &["md"]);
    for entry in fs::read_dir(&root).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&file).unwrap();
            pages.push(Source { file, text });
        }
    }
    pages
}

fn listed(places: &[Place]) -> String {
    places.iter().map(|place| format!("\n{place}")).collect()
}

fn is_question(line: &str) -> bool {
    words(line)
        .next()
        .is_some_and(|word| OPENINGS.contains(&word))
}

/// Returns the doc blocks that begin with a question word, if they are too many among all.
fn too_many_questions(sources: &[Source]) -> Result<(), String> {
    let all = sources
        .iter()
        .map(|source| source.openings().len())
        .sum::<usize>();
    let questions = sources.iter().flat_map(|source| {
        let openings = source
            .openings()
            .into_iter()
            .filter(|(_, line)| is_question(line));
        openings.map(|(number, line)| source.place(number, line))
    });
    let questions: Vec<_> = questions.collect();
    if questions.len() * 100 > all * OPENINGS_IN_100 {
        return Err(format!(
            "{} of {all} doc blocks begin with a question word; begin with a verb or a noun:{}",
            questions.len(),
            listed(&questions)
        ));
    }
    Ok(())
}

/// Returns the pronouns without a person, if they are too many among all words.
fn too_many_pronouns(sources: &[Source]) -> Result<(), String> {
    let all = sources.iter().map(Source::words).sum::<usize>();
    let pronouns: Vec<_> = sources.iter().flat_map(Source::pronouns).collect();
    if pronouns.len() * 5000 > all * PRONOUNS_IN_5000 {
        return Err(format!(
            "{} in {all} words of docs name no subject; say who or what it is:{}",
            pronouns.len(),
            listed(&pronouns)
        ));
    }
    Ok(())
}

#[test]
fn doc_blocks_begin_with_verbs_and_nouns() {
    for name in CRATES {
        if let Err(error) = too_many_questions(&sources(&root().join(name), &["rs"])) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn docs_name_their_subjects() {
    for name in CRATES {
        if let Err(error) = too_many_pronouns(&sources(&root().join(name), &["rs", "md"])) {
            panic!("{name}: {error}");
        }
    }
    if let Err(error) = too_many_pronouns(&pages()) {
        panic!("{error}");
    }
}

#[test]
fn the_words_are_those_of_the_field() {
    let mut all = pages();
    for name in CRATES {
        all.extend(sources(
            &root().join(name),
            &["rs", "md", "html", "js", "sql"],
        ));
    }
    let places: Vec<_> = all.iter().flat_map(Source::phrases).collect();
    assert!(
        places.is_empty(),
        "say process, handle, fix or retry, or at most n:{}",
        listed(&places)
    );
}

#[test]
fn one_let_binds_one_name() {
    let all = CRATES
        .iter()
        .flat_map(|name| sources(&root().join(name), &["rs"]));
    let places: Vec<_> = all.flat_map(|source| source.bindings_by_pairs()).collect();
    assert!(
        places.is_empty(),
        "write one `let` for each name:{}",
        listed(&places)
    );
}

#[test]
fn a_planted_example_of_each_is_found() {
    let good = "/// Returns the receipt.\nfn receipt() {}\n".repeat(40);
    let question = Source::planted(&format!(
        "{good}/// Whether it is a receipt.\nfn is_receipt() {{}}\n"
    ));
    assert_eq!(question.openings().len(), 41);
    assert!(
        too_many_questions(&[question]).is_err(),
        "1 of 41 is more than 2 %"
    );
    assert!(too_many_questions(&[Source::planted(&good)]).is_ok());
    let later = Source::planted(
        "/// Returns it.\n///\n/// What follows is no block of its own.\nfn f() {}\n",
    );
    assert!(too_many_questions(&[later]).is_ok());

    for (start, end) in PRONOUNS {
        let planted = Source::planted(&format!(
            "/// Answers {start}{end} who asks.\nfn f() {{}}\n"
        ));
        assert!(too_many_pronouns(&[planted]).is_err(), "{start}{end}");
    }
    for (start, end) in PHRASES {
        let in_docs = format!("/// Events that it {start}{end} are gone.\n");
        let in_errors = format!("fn f() {{ panic!(\"it {start}{end} an event\") }}\n");
        let in_names = format!(
            "fn it_{}{}_events() {{}}\n",
            start.replace(' ', "_"),
            end.replace(' ', "_")
        );
        for text in [in_docs, in_errors, in_names] {
            assert_eq!(Source::planted(&text).phrases().len(), 1, "{text}");
        }
    }
    let broken = format!("/// Events that it deal{}\n/// {} once.\n", "s", "with");
    assert_eq!(Source::planted(&broken).phrases().len(), 1, "{broken}");
    assert!(
        Source::planted("/// An amendment of the ideal width.\n")
            .phrases()
            .is_empty()
    );

    let pairs = [
        "fn f() { LET (a, b) = (1, 2); }",
        "fn f() { LET (mut a, b): (u8, u8) = (1, 2); }",
        "macro_rules! m { () => { LET (a, b) = (1, g(2)); } }",
    ];
    for text in pairs {
        let text = &text.replace("LET", "let");
        assert_eq!(Source::planted(text).bindings_by_pairs().len(), 1, "{text}");
    }
    let others = [
        "fn f() { let (a, b) = pair(1, 2); }",
        "fn f() { let (Some(a), Some(b)) = (x, y) else { return }; }",
        "fn f() { if let (Some(a), Some(b)) = (x, y) { g(a, b); } }",
    ];
    for text in others {
        assert!(
            Source::planted(text).bindings_by_pairs().is_empty(),
            "{text}"
        );
    }
}
