use ferry_dockerfile::parse;
use ferry_oci::ContainerDefaults;

use super::*;

fn planned(text: &str, request: &PlanRequest) -> Result<Plan, BuildError> {
    plan(&parse(text.as_bytes()).unwrap(), request)
}

/// What the last stage becomes, and the effects on the way.
fn built(text: &str, args: &[(&str, &str)]) -> (State, Vec<Effect>) {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
    let request = PlanRequest { build_args: args.collect(), ..PlanRequest::default() };
    let plan = planned(text, &request).unwrap();
    let mut state = State::on(ContainerDefaults::default(), plan.escape);
    state.build_args = request.build_args.clone();
    state.globals = plan.globals.clone();
    let stage = plan.stages.last().unwrap();
    let effects = stage.instructions.iter().map(|one| state.apply(&one.kind).unwrap()).collect();
    (state, effects)
}

#[test]
fn only_what_the_target_needs() {
    let text = "FROM a AS one\nFROM b AS two\nFROM one AS three\nCOPY --from=two x y\nFROM d AS four\nFROM three";
    assert_eq!(planned(text, &PlanRequest::default()).unwrap().needed, [0, 1, 2, 4]);
    let request = PlanRequest { target: "FOUR".to_owned(), ..PlanRequest::default() };
    assert_eq!(planned(text, &request).unwrap().needed, [3]);
    for (target, near) in [("elsewhere", ""), ("thre", " (did you mean three?)")] {
        let request = PlanRequest { target: target.to_owned(), ..PlanRequest::default() };
        assert_eq!(
            planned(text, &request).unwrap_err().to_string(),
            format!("target stage {target:?} could not be found{near}")
        );
    }
}

#[test]
fn stages_take_from_those_before_them() {
    for (text, line, words) in [
        ("FROM a AS x\nCOPY --from=5 /x /", 2, "invalid stage index 5"),
        ("FROM a\nRUN x\nCOPY --from=0 /x /", 3, "circular dependency detected on stage: stage-0"),
        ("FROM a AS x\nCOPY --from=X /x /", 2, "circular dependency detected on stage: x"),
        (
            "FROM a AS x\nCOPY --from=y /x /\nFROM b AS y",
            2,
            "cannot copy from stage \"y\", it needs to be defined before current stage \"x\"",
        ),
        (
            "FROM a AS x\nRUN --mount=from=1,target=/m x\nFROM b AS y",
            2,
            "cannot mount from stage \"1\" to \"/m\", stage needs to be defined before current command",
        ),
    ] {
        let refused = planned(text, &PlanRequest::default()).unwrap_err();
        assert_eq!((refused.to_string().as_str(), refused.lines()), (words, Some((line, line))));
    }
    let contexts = std::collections::BTreeSet::from(["y".to_owned()]);
    let request = PlanRequest { contexts, ..PlanRequest::default() };
    assert!(planned("FROM a AS x\nCOPY --from=y /x /\nFROM b AS y", &request).is_ok());
    assert!(planned("FROM a\nCOPY --from=image:5 /x /", &PlanRequest::default()).is_ok());
}

#[test]
fn arguments_before_from() {
    let text = "ARG V=1\nARG I=img:$V\nFROM ${I}\nARG V\nRUN echo $V";
    let plan = planned(text, &PlanRequest::default()).unwrap();
    assert_eq!(plan.stages[0].base, Base::Image("img:1".to_owned()));
    let (state, _) = built(text, &[("V", "2")]);
    assert_eq!(state.value_of("V").as_deref(), Some("2"));
    assert!(planned("ARG X\nFROM $X", &PlanRequest::default()).is_err());
    assert!(matches!(planned("RUN x", &PlanRequest::default()), Err(BuildError::NoStage)));
}

#[test]
fn to_declare_an_argument_again_takes_nothing_away() {
    let (state, _) = built("FROM scratch\nARG A=1\nARG A\nARG B=1\nARG B=2", &[]);
    assert_eq!(state.value_of("A").as_deref(), Some("1"));
    assert_eq!(state.value_of("B").as_deref(), Some("2"));
}

#[test]
fn env_goes_before_arg() {
    let (state, effects) = built(
        "FROM scratch\nARG A=1\nARG B=2\nENV A=env C=$B\nENV D=$A E=${F:-$C}\nRUN x",
        &[("A", "arg")],
    );
    let env = state.config.env.unwrap();
    assert_eq!(env[1..], ["A=env", "C=2", "D=env", "E=2"]);
    let Some(Effect::Run(run)) = effects.last() else { panic!() };
    assert!(run.env.contains(&"B=2".to_owned()) && !run.env.contains(&"A=arg".to_owned()));
    assert_eq!(run.shown, "RUN |1 B=2 /bin/sh -c x # buildkit");
}

#[test]
fn a_configuration_grows() {
    let (state, effects) = built(
        "FROM scratch\nWORKDIR /a\nWORKDIR b/../c\nUSER u:g\nEXPOSE 80 53/UDP 8000-8001\nVOLUME /v [x]\n\
         LABEL a=\"b c\" d='e'\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/ash\",\"-ec\"]\nCMD echo hi\nHEALTHCHECK --retries=3 CMD x\n\
         ONBUILD RUN y\nMAINTAINER me",
        &[],
    );
    assert_eq!(
        effects[1],
        Effect::Directory { path: "/a/c".to_owned(), shown: "WORKDIR /a/c".to_owned() }
    );
    let config = state.config;
    assert_eq!(config.cmd.unwrap(), ["/bin/ash", "-ec", "echo hi"]);
    assert_eq!(
        config.exposed_ports.unwrap().into_iter().collect::<Vec<_>>(),
        ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]
    );
    assert_eq!(config.labels.unwrap()["a"], "b c");
    assert_eq!(config.healthcheck.unwrap().test.unwrap(), ["CMD-SHELL", "x"]);
    assert_eq!(config.on_build.unwrap(), ["RUN y"]);
    assert_eq!(state.author.as_deref(), Some("me"));
}

#[test]
fn destinations_are_absolute() {
    let (_, effects) =
        built("FROM scratch\nWORKDIR /app\nCOPY a b ./\nCOPY a c\nCOPY a .\nADD a /", &[]);
    let destinations: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Copy(copy) => Some(copy.destination.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(destinations, ["/app/", "/app/c", "/app/", "/"]);
}

#[test]
fn documents_keep_their_quotes() {
    let (_, effects) =
        built("FROM scratch\nENV A=1\nCOPY <<F /x\nit's \"$A\"\nF\nRUN cat <<E\n$A\nE\n", &[]);
    let Effect::Copy(copy) = &effects[1] else { panic!() };
    let ferry_dockerfile::Source::Document(document) = &copy.sources[0] else { panic!() };
    assert_eq!(document.content, "it's \"1\"\n");
    let Effect::Run(run) = &effects[2] else { panic!() };
    assert_eq!(run.argv[2], "cat <<E\n$A\nE");
}
