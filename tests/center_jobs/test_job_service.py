"""Jobs on a real database: made, run, stopped, approved, rolled back; what is sent, and what is not."""

from center_jobs.stage import Stage, doubled, told


async def test_a_job_runs_in_waves_to_its_end(stage: Stage) -> None:
    await stage.fleet(10)
    job = await stage.make(rules={"waves": {"sizes": [1, 3]}})
    done = await stage.until(job, "succeeded")
    assert done["counts"] == {"succeeded": 10}
    assert [wave["nodes"] for wave in done["waves"]] == [1, 3, 3, 3]
    assert sorted(told(stage)) == [f"n{each:04}" for each in range(10)]
    assert not doubled(told(stage))


async def test_a_configuration_reaches_its_nodes_wave_by_wave_and_goes_back(stage: Stage) -> None:
    await stage.fleet(4)
    job = await stage.make(
        config={"patch": {"agent": {"log_level": "DEBUG"}}},
        rules={"waves": {"sizes": [1]}, "approval": True},
    )
    await stage.until(job, "awaiting_approval")
    assert len(stage.nodes.configs) == 1
    await stage.call(job, "rollback")
