"""The complete metadata: every room's tables in one list.

A room that gets tables adds its model module here; migrations compare against this metadata
alone, so a table that is missing here does not exist.
"""

from sqlmodel import SQLModel

import farshore_center.commands.model
import farshore_center.config.model
import farshore_center.events.model
import farshore_center.groups.model
import farshore_center.identity.model
import farshore_center.ingest.model
import farshore_center.jobs.model
import farshore_center.nodes.model
import farshore_center.tasks.model
import farshore_center.tasks.quota_model
import farshore_center.telemetry.model

metadata = SQLModel.metadata

ROOMS = (
    farshore_center.commands.model,
    farshore_center.config.model,
    farshore_center.events.model,
    farshore_center.groups.model,
    farshore_center.identity.model,
    farshore_center.ingest.model,
    farshore_center.jobs.model,
    farshore_center.nodes.model,
    farshore_center.tasks.model,
    farshore_center.tasks.quota_model,
    farshore_center.telemetry.model,
)
