"""What the charts of TensorBoard are called says what they show."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from torch.utils.tensorboard import SummaryWriter

from monai_ima.bundle import add_layout


def test_shares_and_quantiles_say_of_what_they_are(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        add_layout(writer)
    events = EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    titles = [chart.title for category in layout.category for chart in category.chart]
    assert "margins of the training samples: 5 %, mean, 95 %" in titles
    assert "shares of the training samples: crossed within their margin; at eps_max" in titles
