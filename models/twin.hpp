#pragma once

#include "models/scenario.hpp"

namespace zebroid {

/// The scenario with a narrow twin of its model that a laptop can train on bytes: equally many
/// layers, experts, chosen experts, dense layers and shared experts where the model has them, so
/// that the same schedules fit it and tokens go the same ways; but narrow, with plain grouped-query
/// attention, a vocabulary of 256 bytes and short sequences. A note says what is left out.
Scenario narrow_twin(const Scenario& scenario);

}  // namespace zebroid
