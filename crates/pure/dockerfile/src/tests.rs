use std::collections::BTreeMap;

use super::*;

fn kinds(text: &str) -> Vec<Kind> {
    let read = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    read.instructions.into_iter().map(|instruction| instruction.kind).collect()
}

fn one(text: &str) -> Kind {
    kinds(text).pop().unwrap()
}

#[test]
fn triggers_take_their_documents_along() {
    let file =
        parse(b"FROM a\nONBUILD RUN <<-E\n\techo x\nE\nONBUILD COPY <<f /d/\ntext\nf\n").unwrap();
    let texts: Vec<&str> = file
        .instructions
        .iter()
        .filter_map(|one| match &one.kind {
            Kind::OnBuild(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["RUN <<-E\necho x\nE", "COPY <<f /d/\ntext\nf"]);
    let read = parse_instruction(texts[0]).unwrap();
    assert!(matches!(read.kind, Kind::Run { .. }), "{read:?}");
}

#[test]
fn lines_are_joined_and_comments_left_out() {
    let read =
        parse(b"# a comment\nFROM a AS B\nRUN one && \\\n  # not here\n\n  two \\\n three\n")
            .unwrap();
    assert_eq!(read.instructions[1].line, 3);
    assert_eq!(read.instructions[1].text, "RUN one &&   two  three");
    let Kind::From { image, name, .. } = &read.instructions[0].kind else { panic!() };
    assert_eq!((image.as_str(), name.as_deref()), ("a", Some("b")));
}

#[test]
fn the_escape_directive() {
    let read = parse(b"# escape=`\nFROM a\nRUN dir C:\\ `\n b\n").unwrap();
    assert_eq!(read.instructions[1].text, "RUN dir C:\\  b");
    let error = parse(b"# escape=x\nFROM a").unwrap_err();
    assert!(error.to_string().contains("invalid ESCAPE token 'x' does not match"), "{error}");
    assert_eq!(
        parse(b"# syntax=docker/dockerfile:1\nFROM a").unwrap().syntax.unwrap(),
        "docker/dockerfile:1"
    );
    assert!(parse(b"# escape=`\n# escape=`\nFROM a").is_err());
}

#[test]
fn commands_have_two_forms() {
    assert_eq!(
        one("CMD [\"a\", \"b c\"]"),
        Kind::Cmd(Command::Exec(vec!["a".into(), "b c".into()]))
    );
    assert_eq!(one("CMD ['a']"), Kind::Cmd(Command::Shell("['a']".into())));
    assert_eq!(one("ENTRYPOINT a  b"), Kind::Entrypoint(Command::Shell("a  b".into())));
    assert_eq!(
        one("SHELL [\"/bin/bash\", \"-c\"]"),
        Kind::Shell(vec!["/bin/bash".into(), "-c".into()])
    );
}

#[test]
fn heredocs_end_with_their_word() {
    let Kind::Run { command, .. } = one("RUN <<EOF\necho a\n# kept\nEOF\n") else { panic!() };
    assert_eq!(command, Command::Shell("echo a\n# kept\n".into()));
    let Kind::Run { command, heredocs, .. } = one("RUN cat <<A <<-\"B\" > /x\n1\nA\n\t2\n\tB\n")
    else {
        panic!()
    };
    assert_eq!(command, Command::Shell("cat <<A <<-\"B\" > /x".into()));
    assert_eq!((heredocs[0].content.as_str(), heredocs[0].expand), ("1\n", true));
    assert_eq!((heredocs[1].content.as_str(), heredocs[1].expand), ("2\n", false));
    let Kind::Copy { sources, destination, .. } = one("COPY <<f.txt x /d/\nhi $A\nf.txt\n") else {
        panic!()
    };
    assert_eq!(destination, "/d/");
    assert!(matches!(&sources[0], Source::Document(doc) if doc.content == "hi $A\n"));
    assert!(parse(b"RUN <<EOF\nx\n").unwrap_err().to_string().contains("unterminated heredoc"));
}

#[test]
fn names_and_values() {
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        one("ENV A=b \"C=d e\" F='g h'").clone(),
        Kind::Env(vec![pair("A", "b"), pair("\"C", "d e\""), pair("F", "'g h'")])
    );
    assert_eq!(one("ENV A over written"), Kind::Env(vec![pair("A", "over written")]));
    assert_eq!(one("LABEL a=1"), Kind::Label(vec![pair("a", "1")]));
    let Kind::Arg(args) = one("ARG A B=c") else { panic!() };
    assert_eq!(args[1].default.as_deref(), Some("c"));
}

#[test]
fn flags_are_read_or_refused() {
    let Kind::Copy { flags, sources, .. } = one("COPY --from=build --chown=a:b --chmod=755 x y z")
    else {
        panic!()
    };
    assert_eq!(
        (flags.from.as_deref(), flags.chown.as_deref(), sources.len()),
        (Some("build"), Some("a:b"), 2)
    );
    let Kind::Run { flags, .. } =
        one("RUN --mount=type=cache,target=/c,sharing=locked --network=none x")
    else {
        panic!()
    };
    assert_eq!((flags.mounts[0].kind, flags.mounts[0].target.as_str()), (MountKind::Cache, "/c"));
    assert!(flags.mounts[0].writable);
    for (text, words) in [
        ("COPY --foo a b", "unknown flag: --foo"),
        ("ADD --from=x a b", "unknown flag: --from"),
        ("RUN --mount=type=cache x", "target is required in mount"),
        ("RUN --mount=type=x,target=/ x", "unsupported mount type"),
        ("RUN --security=no x", "security \"no\" is not valid"),
        ("ENV --x=y A=b", "unknown flag: --x"),
        ("HEALTHCHECK --interval=1ns CMD x", "cannot be less than 1ms"),
    ] {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("dockerfile parse error on line 1: ") && error.contains(words),
            "{text}: {error}"
        );
    }
}

#[test]
fn what_is_no_dockerfile() {
    for (text, words) in [
        ("", "file with no instructions"),
        ("# only\n", "file with no instructions"),
        (
            "FROM a\nFOO bar",
            "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)",
        ),
        ("FROM a\nCOPY --form=x a b", "unknown flag: --form (did you mean from?)"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1b", "invalid name for build stage"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided"),
        ("ENV A=b c", "can't find = in \"c\""),
        ("ENV A", "ENV must have two arguments"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("SHELL bash -c", "JSON form"),
    ] {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    assert_eq!(parse(b"\xff").unwrap_err(), ParseError::NotText);
}

fn value(word: &str) -> Result<String, ExpandError> {
    let set = BTreeMap::from([
        ("a", "one"),
        ("empty", ""),
        ("path", "/usr/local/bin/x.tar.gz"),
        ("b", "o"),
    ]);
    expand(word, '\\', &|name| set.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn variables_are_replaced() {
    for (word, wanted) in [
        ("$a", "one"),
        ("${a}x", "onex"),
        ("$none.", "."),
        ("${none:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${none-$a}", "one"),
        ("${none:-${empty:-${a}}}", "one"),
        ("${a:+y}", "y"),
        ("${empty:+y}", ""),
        ("${empty+y}", "y"),
        ("'$a'", "$a"),
        ("\"$a b\"", "one b"),
        ("\\$a", "$a"),
        ("\"\\$a \\x\"", "$a \\x"),
        ("${path##*/}", "x.tar.gz"),
        ("${path#*/}", "usr/local/bin/x.tar.gz"),
        ("${path%.*}", "/usr/local/bin/x.tar"),
        ("${path%%.*}", "/usr/local/bin/x"),
        ("${path/\\//_}", "_usr/local/bin/x.tar.gz"),
        ("${path//\\//_}", "_usr_local_bin_x.tar.gz"),
        ("${a//$b/0}", "0ne"),
        ("a\\ b", "a b"),
        ("$", "$"),
        ("a'b c'd", "ab cd"),
        ("${a:?no}", "one"),
    ] {
        assert_eq!(value(word).as_deref(), Ok(wanted), "{word}");
    }
    assert_eq!(value("${none:?give it}").unwrap_err().to_string(), "none: give it");
    for bad in ["${a", "'x", "\"x", "${a@Q}", "${}", "${a:x}"] {
        assert!(value(bad).is_err(), "{bad}");
    }
}
