"""Why a session is unusual, in terms of the ordinary ones: no part of it needs the model."""
