"""What people and programs read: plans, results, states and errors as text and as JSON. Nothing here acts."""
